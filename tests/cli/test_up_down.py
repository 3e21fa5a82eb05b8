"""`up` and `down` as far as the command line goes; whole meshes come up in tests/e2e."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pilotfish.cli.up import default_name
from pilotfish.runtime import node
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.node.options import CannotStart, ProgressLine, UpOptions
from tests.cli.conftest import Invoke
from tests.cli.fakes import REFUSED, FakeMesh, mesh_view

Started = list[UpOptions]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="meshes take root")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """The options that `run` and `detach` got instead of making a mesh."""
    got: Started = []

    def start(options: UpOptions, on_progress: Callable[[ProgressLine], None], stdin: str | None = None) -> int:
        got.append(options)
        on_progress(ProgressLine(0.5, "discovery ready"))
        on_progress(ProgressLine(1.25, "pod x.vm is not ready", "error"))
        on_progress(ProgressLine(1.5, "m.yaml:8: warning: Service vm/x spec: not so [Reason]", "warning"))
        return 0

    monkeypatch.setattr(node, "run", start)
    monkeypatch.setattr(node, "detach", start)
    return got


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("examples/calculator", "calculator"),
        ("examples/calculator/", "calculator"),
        ("My Mesh.prod.yaml", "my-mesh-prod"),
        ("-", "default"),
        ("examples/calculator/..", "examples"),
        ("___.yaml", "default"),
        ("x" * 40 + ".yaml", "x" * 32),
    ],
)
def test_a_mesh_is_named_after_what_it_is_made_of(tmp_path: Path, source: str, name: str) -> None:
    (tmp_path / "examples" / "calculator").mkdir(parents=True)
    assert default_name(source, tmp_path) == name


def test_up_passes_on_what_it_is_told(state: Path, tmp_path: Path, started: Started, invoke: Invoke) -> None:
    (tmp_path / "calc.yaml").write_text("")
    (tmp_path / "mc.yaml").write_text("")
    result = invoke(
        "up", "calc.yaml", "-", "-p", "8080:webapp:8889", "--publish", "0.0.0.0:81:web.other:http",
        "-n", "vm", "--mesh-config", "mc.yaml", "--timeout", "1m30s",
    )  # fmt: skip
    assert result.exit_code == 0
    assert result.stdout == "[  0.50s] discovery ready\n"
    assert result.stderr == (
        "[  1.25s] error: pod x.vm is not ready\n[  1.50s] m.yaml:8: warning: Service vm/x spec: not so [Reason]\n"
    )
    (options,) = started
    assert (options.name, options.sources, options.namespace) == ("calc", ("calc.yaml", "-"), "vm")
    assert (options.state_root, options.mesh_config, options.ready_timeout) == (state, "mc.yaml", 90)
    assert [(each.listening(), each.target) for each in options.publish] == [
        ("127.0.0.1:8080", "webapp.vm:8889"),
        ("0.0.0.0:81", "web.other:http"),
    ]


def test_the_way_out_and_the_networks_are_passed_on(
    state: Path, tmp_path: Path, started: Started, invoke: Invoke
) -> None:
    (tmp_path / "demo.yaml").write_text("")
    invoke("up", "demo.yaml")
    invoke(
        "up", "demo.yaml", "--egress", "--pod-cidr", "172.20.0.0/16,fd00:1::/64", "--service-cidr", "10.97.0.0/16"
    )  # fmt: skip
    usual, asked = started
    assert (usual.egress, usual.subnets, str(usual.service_cidr)) == (False, None, "10.96.0.0/16")
    assert asked.egress
    assert asked.subnets is not None
    assert (str(asked.subnets.v4), str(asked.subnets.v6)) == ("172.20.0.0/16", "fd00:1::/64")
    assert str(asked.subnets.services) == "10.97.0.0/16"
    result = invoke("up", "demo.yaml", "--pod-cidr", "172.20.0.0")
    assert result.exit_code == 2
    assert "from /16 to /28" in result.stderr


def test_detached_says_how_to_go_on(mesh: FakeMesh, tmp_path: Path, started: Started, invoke: Invoke) -> None:
    (tmp_path / "demo.yaml").write_text("")
    result = invoke("up", "demo.yaml", "--detach")
    assert result.stdout.splitlines() == [
        "[  0.50s] discovery ready",
        "mesh demo: ready, 3 of 3 pods, 3 of 3 proxies synced, up 2m10s",
        "  127.0.0.1:8080 leads to webapp.vm:8889",
        "  'pilotfish status' shows it, 'pilotfish down' takes it down",
    ]


def test_detached_fails_where_status_would(mesh: FakeMesh, tmp_path: Path, started: Started, invoke: Invoke) -> None:
    mesh.set(ready=False, problems=(REFUSED,))
    (tmp_path / "demo.yaml").write_text("")
    result = invoke("up", "demo.yaml", "--detach")
    assert (result.exit_code, "mesh demo: not ready" in result.stdout) == (1, True)


def test_without_manifests_the_mesh_is_empty(state: Path, started: Started, invoke: Invoke) -> None:
    assert invoke("up").exit_code == 0
    assert [(options.name, options.sources) for options in started] == [("default", ())]


def test_progress_that_nobody_reads_ends_no_mesh() -> None:
    """As in `up --detach | head -1`."""
    code = (
        "from pilotfish.cli.up import *; [print_progress(ProgressLine(1, 'x', s)) for s in ('info', 'error', 'info')]"
    )
    with Path("/dev/full").open("w") as full:
        assert subprocess.run([sys.executable, "-c", code], stdout=full, stderr=full).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent.yaml"], 1, "the path 'absent.yaml' does not exist"),
        ([""], 1, "the path '' does not exist"),
        (["-", "--name", "No!"], 2, "'No!' is no name for a mesh"),
        (["-", "-p", "web:80"], 2, "'web:80' is not of the form"),
        (["-", "--mesh-config", "absent"], 2, "absent"),
        (["-", "--timeout", "-5s"], 2, "less than nothing"),
    ],
)
def test_wrong_arguments_start_nothing(
    state: Path, started: Started, invoke: Invoke, arguments: list[str], code: int, message: str
) -> None:
    result = invoke("up", *arguments)
    assert result.exit_code == code
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert started == []


def test_a_machine_that_refuses_is_one_line(state: Path, monkeypatch: pytest.MonkeyPatch, invoke: Invoke) -> None:
    def refuse(*arguments: Any) -> int:
        raise CannotStart("port 127.0.0.1:80 is taken; choose another with --publish")

    monkeypatch.setattr(node, "run", refuse)
    result = invoke("up", "-")
    assert (result.exit_code, result.stderr) == (
        1, "error: port 127.0.0.1:80 is taken; choose another with --publish\n"
    )  # fmt: skip


def test_down_waits_for_the_meshs_process(mesh: FakeMesh, invoke: Invoke) -> None:
    process = subprocess.Popen(["sleep", "60"])
    reaper = threading.Thread(target=process.wait)
    try:
        own = mesh_view("demo", mesh.directory, pid=process.pid, pid_started=_started(process.pid))
        (mesh.directory / "mesh.json").write_bytes(msgspec.json.encode(own))
        answer = mesh.answer

        def down(path: str, asked: dict[str, Any]) -> Any:
            if path != "/down":
                return answer(path, asked)
            process.kill()
            reaper.start()
            return {}

        mesh.answer = down  # type: ignore[method-assign]
        result = invoke("down")
        assert (result.exit_code, result.stdout) == (0, "mesh demo is down\n")
        reaper.join()
        assert process.returncode == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()


def test_down_ends_a_mesh_that_is_just_starting(state: Path, invoke: Invoke) -> None:
    """Its process is there, its control socket is not yet."""
    process = subprocess.Popen(["sleep", "60"])
    reaper = threading.Thread(target=process.wait)
    try:
        directory = state / "young"
        directory.mkdir()
        own = mesh_view("young", directory, pid=process.pid, pid_started=_started(process.pid))
        (directory / "mesh.json").write_bytes(msgspec.json.encode(own))
        reaper.start()
        result = invoke("down")
        assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "mesh young is down")
        reaper.join()
        assert process.returncode == -signal.SIGTERM
        assert not directory.exists()
    finally:
        process.kill()
        reaper.join()


def test_down_sweeps_what_a_dead_mesh_left(state: Path, invoke: Invoke) -> None:
    name = f"cli-{os.getpid()}"
    directory = state / name
    directory.mkdir()
    ended = subprocess.Popen(["true"])
    ended.wait()
    (directory / "mesh.json").write_bytes(msgspec.json.encode(mesh_view(name, directory, pid=ended.pid, pid_started=1)))
    left = NetNs.create(f"pf-{name}")
    process = subprocess.Popen(["nsenter", f"--net={left.path}", "sleep", "60"])
    try:
        assert invoke("get", "meshes").stdout.splitlines()[1].split()[:2] == [name, "Dead"]
        _until_inside(process.pid, left)
        result = invoke("down")
        assert result.exit_code == 0
        assert result.stdout.splitlines() == [
            f"mesh {name} was dead; removed what it left:",
            f"  process {process.pid} (sleep)",
            f"  network namespace pf-{name}",
            f"  directory {directory}",
        ]
        assert not left.path.exists()
        assert list(state.iterdir()) == []
    finally:
        process.kill()
        process.wait()
        left.delete()


def test_down_finds_a_namespace_by_name_alone(state: Path, invoke: Invoke) -> None:
    name = f"clin-{os.getpid()}"
    left = NetNs.create(f"pf-{name}")
    try:
        assert invoke("down").exit_code == 0
        assert left.path.exists()
        assert f"network namespace pf-{name}" in invoke("down", "--name", name).stdout
        assert not left.path.exists()
    finally:
        left.delete()


def test_down_of_nothing(state: Path, invoke: Invoke) -> None:
    result = invoke("down")
    assert (result.exit_code, result.stderr) == (0, "no mesh is running, and none left anything behind\n")
    result = invoke("down", "--name", "absent")
    assert (result.exit_code, result.stderr) == (
        1, 'error: no mesh named "absent" is running, and none left anything behind\n'
    )  # fmt: skip
    assert invoke("down", "--name", "../x").exit_code == 1
    assert invoke("down", "--name", "x", "--all").exit_code == 2


def test_down_of_several_needs_a_name(mesh: FakeMesh, state: Path, invoke: Invoke) -> None:
    other = FakeMesh(state, "other")
    try:
        result = invoke("down")
        assert result.exit_code == 1
        assert result.stderr == "error: 2 meshes are running (demo, other); say which one with --name, or --all\n"
    finally:
        other.close()


def _started(pid: int) -> int:
    from pilotfish.runtime.control.client import process_started

    found = process_started(pid)
    assert found is not None
    return found


def _until_inside(pid: int, netns: NetNs) -> None:
    """nsenter has become the program, inside."""
    while pid not in netns.pids() or Path(f"/proc/{pid}/comm").read_text() != "sleep\n":
        pass
