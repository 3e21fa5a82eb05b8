"""What a mesh must withstand: killed processes, taken ports, missing parts, two of everything, no root."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.harness import ADD, CALCULATOR, PILOTFISH, WEBAPP, MakeMesh, Mesh, leftovers, run
from tests.prometheus import total
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    with make_mesh("e2e-faults", CALCULATOR) as mesh:
        yield mesh


@contextmanager
def load(mesh: Mesh, pod: str, url: str) -> Iterator[list[str]]:
    """Requests one after the other, as fast as they are answered, while the block runs. Yields the bad answers."""
    stop = threading.Event()
    bad: list[str] = []
    good: list[int] = []

    def client() -> None:
        script = f"for i in $(seq 50); do curl -sS -m 10 -o /dev/null -w '%{{http_code}}\\n' '{url}' 2>&1; done"
        while not stop.is_set():
            for answer in mesh.exec(pod, "sh", "-c", script, check=False).stdout.splitlines():
                (good.append(1) if answer == "200" else bad.append(answer))

    thread = threading.Thread(target=client)
    thread.start()
    try:
        yield bad
    finally:
        stop.set()
        thread.join()
    assert good, "the load never got an answer"


def test_a_killed_discovery_disturbs_nobody_and_sends_nothing_again(mesh: Mesh) -> None:
    before = mesh.status["discovery"]
    with load(mesh, WEBAPP, ADD) as bad:
        os.kill(before["pid"], signal.SIGKILL)

        def reconnected() -> bool:
            status = mesh.status
            return status["discovery"].get("pid") not in (None, before["pid"]) and all(
                p.get("sync") and p["sync"]["connected"] and p["sync"]["types"]["rds"] == "SYNCED"
                for p in status["proxies"]
            )

        wait_until("the proxies are with the new discovery", reconnected, within=20)
    assert bad == []
    netns = Path(mesh.status["mesh"]["netns"]).name
    metrics = run("ip", "netns", "exec", netns, "curl", "-sS", f"http://{before['monitoring_address']}/metrics").stdout
    assert total(metrics, "pilot_xds") == len(mesh.envoys)
    assert total(metrics, "pilot_xds_pushes_total") == 0


def test_scaling_under_load_fails_no_request(mesh: Mesh) -> None:
    with load(mesh, WEBAPP, ADD) as bad:
        for replicas in ("5", "1"):
            mesh.call("scale", "deploy/calculator-v1", "-n", "vm", "--replicas", replicas)
            mesh.call("rollout", "status", "deploy/calculator-v1", "-n", "vm", "--timeout", "60s")
        wait_until("one pod of v1 is left", lambda: len(mesh.pods("calculator")) == 2, within=40)
    assert bad == []


def test_a_rollout_under_load_fails_no_request(mesh: Mesh) -> None:
    old = {p["name"] for p in mesh.pods("calculator")}
    with load(mesh, WEBAPP, ADD) as bad:
        manifest = (mesh.sources / "mesh.yaml").read_text()
        mesh.write("mesh.yaml", manifest.replace("value: v2", "value: v2-next"))
        wait_until("the new version answers", lambda: "v2-next" in mesh.curl(WEBAPP, ADD).stdout, within=30)
        mesh.call("rollout", "status", "deploy/calculator-v2", "-n", "vm", "--timeout", "60s")
        wait_until("the old pod is gone", lambda: len(mesh.pods("calculator")) == 2, within=40)
    assert bad == []
    assert len(old & {p["name"] for p in mesh.pods("calculator")}) == 1


def test_a_restart_under_load_fails_no_request(mesh: Mesh) -> None:
    with load(mesh, WEBAPP, ADD) as bad:
        mesh.call("rollout", "restart", "deploy/calculator-v1", "-n", "vm")
        mesh.call("rollout", "status", "deploy/calculator-v1", "-n", "vm", "--timeout", "60s")
        wait_until("the old pod is gone", lambda: len(mesh.pods("calculator")) == 2, within=40)
    assert bad == []


def test_pods_that_leave_while_discovery_is_away_fail_no_request(mesh: Mesh) -> None:
    """They are there until those who call them know that they leave."""
    old = {p["name"] for p in mesh.pods("calculator")}
    with load(mesh, WEBAPP, ADD) as bad:
        for version in ("v1", "v2"):
            mesh.call("rollout", "restart", f"deploy/calculator-{version}", "-n", "vm")
        wait_until("the new pods are there", lambda: len({p["name"] for p in mesh.pods("calculator")} - old) == 2)
        os.kill(mesh.status["discovery"]["pid"], signal.SIGKILL)
        wait_until("the old pods are gone", lambda: not old & {p["name"] for p in mesh.pods("calculator")}, within=40)
        wait_until("all is well again", lambda: mesh.status["ready"], within=20)
    assert bad == []


def test_a_client_from_outside_that_keeps_its_connections_loses_nothing(mesh: Mesh) -> None:
    """It is told to reconnect by an answer, and never finds a pod that is half gone."""
    found = next(s for s in mesh.status["services"] if s["name"] == "calculator")
    stop = threading.Event()
    bad: list[str] = []

    def is_kept(connection: http.client.HTTPConnection) -> bool:
        try:
            connection.request("GET", "/add?a=1&b=2")
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            bad.append(repr(error))
            return False
        if answer.status != 200:
            bad.append(f"{answer.status}")
        return not answer.will_close  # the next request would go to another pod

    def client(connection: http.client.HTTPConnection, pause: float) -> None:
        while not stop.wait(pause) and is_kept(connection):
            pass

    old = [http.client.HTTPConnection(each, timeout=10) for each in found["endpoints"] for _ in range(8)]
    assert all(is_kept(connection) for connection in old), "each has its connection before the pods leave"
    clients = [threading.Thread(target=client, args=(each, 0.15 + 0.1 * (n % 8))) for n, each in enumerate(old)]
    for thread in clients:
        thread.start()
    try:
        for version in ("v1", "v2"):
            mesh.call("rollout", "restart", f"deploy/calculator-{version}", "-n", "vm")
            mesh.call("rollout", "status", f"deploy/calculator-{version}", "-n", "vm", "--timeout", "60s")
        wait_until("the old pods are gone", lambda: len(mesh.pods("calculator")) == 2, within=40)
    finally:
        stop.set()
        for thread in clients:
            thread.join()
        for connection in old:
            connection.close()
    assert bad == []


def test_what_envoy_refuses_is_named_and_stops_nobody_else(mesh: Mesh) -> None:
    manifest = (mesh.sources / "mesh.yaml").read_text()
    too_long = f"    - match: [{{queryParams: {{? {'q' * 1025} : {{exact: '1'}}}}}}]\n      route:\n"
    refused = manifest.replace("    - route:\n", too_long)
    line = next(i for i, text in enumerate(refused.splitlines(), 1) if "queryParams" in text)
    mesh.write("mesh.yaml", refused)

    def named() -> bool:
        return any(p["kind"] == "VirtualService" for p in mesh.status.get("problems", []))

    wait_until("status names the VirtualService", named)
    problem = next(p for p in mesh.status["problems"] if p["kind"] == "VirtualService")
    assert mesh.call("status", check=False).returncode == 1
    assert (problem["namespace"], problem["name"]) == ("vm", "calculator")
    assert problem["field"] == "spec.http[0].match"
    assert problem["source"].endswith(f"mesh.yaml:{line}"), "the line of what changed"
    assert mesh.envoy_of(WEBAPP) in problem["proxies"]
    assert "mesh.yaml" in mesh.call("get", "proxies", "-o", "wide").stdout
    assert mesh.status_code(WEBAPP, ADD) == "200", "the last good form stays in force"
    killed = mesh.status["discovery"]["pid"]
    os.kill(killed, signal.SIGKILL)
    wait_until("discovery is back", lambda: mesh.status["discovery"]["pid"] not in (None, killed) and named())
    again = next(p for p in mesh.status["problems"] if p["kind"] == "VirtualService")
    assert "its last good form stays in force" in again["message"]
    mesh.write("more.yaml", SECOND_SERVICE)
    wait_until(
        "another object's change goes through, in the same route configuration",
        lambda: mesh.status_code(WEBAPP, "http://second:8888/healthz") == "200",
    )
    mesh.write("mesh.yaml", manifest)
    wait_until("the problem is gone once the object is mended", lambda: not mesh.status.get("problems"))
    wait_until("all is well again", lambda: mesh.call("status", check=False).returncode == 0)


SECOND_SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: second, namespace: vm}
spec:
  selector: {app: calculator}
  ports: [{name: http, port: 8888}]
"""


def test_up_twice_names_the_first(mesh: Mesh) -> None:
    again = mesh.pilotfish("up", mesh.sources, "--name", mesh.name, "--detach", check=False)
    assert again.returncode == 1
    assert mesh.name in again.stderr
    assert str(mesh.status["mesh"]["pid"]) in again.stderr
    assert mesh.status["ready"]


def test_two_meshes_side_by_side(mesh: Mesh, make_mesh: MakeMesh) -> None:
    with make_mesh("e2e-beside", CALCULATOR) as beside:
        assert beside.status_code(WEBAPP, ADD) == mesh.status_code(WEBAPP, ADD) == "200"
        assert set(beside.status["mesh"]["pod_subnets"]).isdisjoint(mesh.status["mesh"]["pod_subnets"])
    assert mesh.status_code(WEBAPP, ADD) == "200"


ONE_POD = """
apiVersion: v1
kind: Pod
metadata: {name: one, labels: {app: one}}
spec:
  containers:
  - name: app
    command: [python3, -m, http.server, "8000"]
"""


def test_what_a_killed_up_left_is_removed_by_down_which_says_so(make_mesh: MakeMesh) -> None:
    with make_mesh("e2e-killed", ONE_POD) as mesh:
        os.kill(mesh.status["mesh"]["pid"], signal.SIGKILL)
        wait_until("there is something left", lambda: leftovers(mesh.name))
        down = mesh.call("down")
        assert "pf-e2e-killed" in down.stdout + down.stderr
        assert leftovers(mesh.name) == []


def test_what_a_killed_up_left_is_removed_by_the_next_up_which_says_so(make_mesh: MakeMesh) -> None:
    with make_mesh("e2e-again", ONE_POD) as mesh:
        first = mesh.status["mesh"]["pid"]
        os.kill(first, signal.SIGKILL)
        again = mesh.pilotfish("up", mesh.sources, "--name", mesh.name, "--detach")
        assert "pf-e2e-again" in again.stdout + again.stderr
        assert mesh.status["mesh"]["pid"] != first
        assert mesh.status["ready"]


def refused_up(tmp_path: Path, *options: str, name: str, user: int = 0, path: str | None = None) -> str:
    """`up` that must fail: what it said. Nothing may be left of it."""
    manifests = tmp_path / "manifests"
    manifests.mkdir(exist_ok=True)
    (manifests / "mesh.yaml").write_text(ONE_POD)
    environment = {**os.environ, "PILOTFISH_STATE": str(tmp_path / "state"), "NO_COLOR": "1"}
    if path is not None:
        environment["PATH"] = path
    done = run(PILOTFISH, "up", manifests, "--name", name, "--detach", *options, check=False, env=environment)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert leftovers(name) == []
    return done.stderr


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused_up(tmp_path, "--publish", f"{port}:one.default:8000", name="e2e-taken")
    assert str(port) in said
    assert "choose another: PORT:one.default:8000" in said


def test_missing_iptables_is_named(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("ip", "python3", "sh"):
        found = shutil.which(tool)
        assert found
        (tools / tool).symlink_to(found)
    said = refused_up(tmp_path, name="e2e-noiptables", path=str(tools))
    assert "iptables" in said
    assert "apt-get install" in said


def test_no_root_is_said() -> None:
    """In a user namespace of its own, the command is nobody."""
    done = run("unshare", "--user", PILOTFISH, "up", CALCULATOR, check=False)
    assert done.returncode == 1
    assert "root" in done.stderr
    assert "sudo" in done.stderr
    assert "Traceback" not in done.stderr
