"""`down` comes to its end in time, whatever hangs."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.harness import PILOTFISH, MakeMesh, Mesh
from tests.freezing import freeze
from tests.waiting import wait_until


def pod(name: str, command: str, more: str = "") -> str:
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, labels: {{app: {name}}}}}\n"
        f"spec: {{terminationGracePeriodSeconds: 1, containers: [{{name: app, command: {command}{more}}}]}}\n"
    )


SLEEP = "[sleep, infinity]"
DEAF = "[sh, -c, \"trap '' TERM; while :; do sleep 1; done\"]"
HOOK = ", lifecycle: {preStop: {exec: {command: [sleep, infinity]}}}"


def app(mesh: Mesh, name: str) -> int:
    pid: int = next(c["pid"] for c in mesh.pods(name)[0]["containers"] if c["name"] == "app")
    return pid


def envoy(mesh: Mesh, name: str) -> int:
    pod = mesh.pods(name)[0]
    whose = mesh.envoy_of(f"{pod['name']}.{pod['namespace']}")
    pid: int = next(p["pid"] for p in mesh.envoys if f"{p['pod']}.{p['namespace']}" == whose)
    return pid


def stop(pid: int) -> None:
    freeze(pid)
    stat = Path(f"/proc/{pid}/stat")
    wait_until("it has stopped", lambda: stat.read_text().rpartition(") ")[2][0] == "T")


@contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def test_pods_proxies_and_a_discovery_that_hang(make_mesh: MakeMesh) -> None:
    manifests = "---\n".join(
        (
            pod("deaf", DEAF),
            pod("stopped", SLEEP),
            pod("hooked", SLEEP, HOOK),
            pod("still", SLEEP),
            pod("deleted", DEAF),
        )
    )
    with make_mesh("e2e-hung", manifests) as mesh:
        stop(app(mesh, "stopped"))
        stop(envoy(mesh, "still"))
        stop(mesh.status["discovery"]["pid"])
        mesh.call("delete", "pod", "deleted")  # is being withdrawn, which nobody acknowledges
        with ends_within(15):
            done = mesh.call("down")
        assert done.stdout == f"mesh {mesh.name} is down\n"
        assert done.stderr == ""


def test_a_mesh_that_hangs_is_killed_and_what_it_leaves_removed(make_mesh: MakeMesh) -> None:
    with make_mesh("e2e-blocked", pod("one", SLEEP)) as mesh:
        stop(app(mesh, "one"))
        node = mesh.status["mesh"]["pid"]
        stop(node)
        with ends_within(20):
            done = mesh.call("down")
        assert f"did not answer within 5 s: its process {node} is killed" in done.stderr
        assert "process" in done.stdout
        assert done.stdout.endswith(f"mesh {mesh.name} is down\n")


def test_who_watches_holds_up_nothing(make_mesh: MakeMesh) -> None:
    with make_mesh("e2e-down-watched", pod("alone", SLEEP)) as mesh:
        commands = (["get", "pods", "-w"], ["wait", "--for=condition=Nope", "pod/alone", "--timeout", "60s"])
        watching = [
            subprocess.Popen(
                [PILOTFISH, *command, "--name", mesh.name],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=mesh.environment,
            )
            for command in commands
        ]
        first = watching[0].stdout
        assert first is not None
        assert first.readline().startswith("NAME")
        with ends_within(8):
            said = mesh.call("down")
        assert "killed" not in said.stderr
        for process in watching:
            _, error = process.communicate(timeout=10)
            assert (process.returncode, "error: " in error) == (1, True)
