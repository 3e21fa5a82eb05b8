"""`pilotfish exec` of real commands, in a real network namespace."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.process import ProcessSpec
from tests.cli.conftest import Invoke
from tests.cli.fakes import FakeMesh, container, pod

PILOTFISH = Path(sys.executable).parent / "pilotfish"


@pytest.fixture
def running(mesh: FakeMesh, netns: NetNs) -> Iterator[FakeMesh]:
    """A mesh with one pod, whose app container is a process in the namespace."""
    with run_pod(mesh, netns):
        yield mesh


@contextmanager
def run_pod(mesh: FakeMesh, netns: NetNs) -> Iterator[None]:
    env = {"PATH": "/usr/bin:/bin", "GREETING": "hello"}
    spec = ProcessSpec(("sleep", "60"), env, cwd="/tmp", uid=1234, gid=1234, netns=netns, userns=netns.owner())
    launch = mesh.directory / "app.launch.json"
    spec.save(launch)
    process = subprocess.Popen(["nsenter", f"--net={netns.path}", "sleep", "60"])
    containers = (
        container("app", pid=process.pid),
        container("istio-proxy", "proxy", pid=process.pid),
    )
    broken = container("broken", state="waiting", reason="CrashLoopBackOff", pid=None)
    etc = mesh.directory / "pods" / "webapp-0" / "etc"
    etc.mkdir(parents=True)
    (etc / "resolv.conf").write_text("nameserver 10.96.0.10\n")
    (etc / "hosts").write_text("127.0.0.1 localhost\n")
    where: dict[str, Any] = {"netns": str(netns.path), "exec": {"app": str(launch)}, "directory": str(etc.parent)}
    mesh.set(
        pods=(pod("webapp-0", containers=containers, **where), pod("two", containers=(*containers, broken), **where))
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def execute(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([PILOTFISH, "exec", *arguments], input=stdin, text=True, capture_output=True, timeout=30)


def test_streams_and_exit_code_are_the_commands_own(running: FakeMesh) -> None:
    done = execute("webapp-0", "--", "sh", "-c", "cat; echo wrong >&2; exit 42", stdin="through\n")
    assert (done.returncode, done.stdout, done.stderr) == (42, "through\n", "wrong\n")


def test_user_folder_and_environment_are_the_containers(running: FakeMesh) -> None:
    done = execute("webapp-0.vm", "-c", "app", "--", "sh", "-c", 'echo "$(id -u) $(pwd) $GREETING $HOME"')
    assert done.stdout == "1234 /tmp hello \n"


def test_the_network_is_the_pods(running: FakeMesh, netns: NetNs) -> None:
    for name in ("app", "istio-proxy"):
        done = execute("webapp-0", "-c", name, "--", "readlink", "/proc/self/ns/net")
        assert done.stdout == f"net:[{netns.path.stat().st_ino}]\n"


def test_the_user_namespace_is_the_containers(mesh: FakeMesh, owned_netns: NetNs) -> None:
    owner = owned_netns.owner()
    assert owner is not None
    with run_pod(mesh, owned_netns), owner.opened() as descriptor:
        done = execute("webapp-0", "--", "sh", "-c", "readlink /proc/self/ns/user; ls /proc/self/fd; id -u; exit 42")
        assert done.stdout.split() == [f"user:[{os.fstat(descriptor).st_ino}]", "0", "1", "2", "3", "1234"]
        assert (done.returncode, done.stderr) == (42, "")
        archive = subprocess.run([PILOTFISH, "cp", "webapp-0:/etc/hostname", "-"], capture_output=True, check=False)
        assert archive.returncode == 0, archive.stderr


def test_the_sidecar_is_entered_as_its_user(running: FakeMesh) -> None:
    assert execute("webapp-0", "-c", "istio-proxy", "--", "id", "-u").stdout == "1337\n"


def test_the_sidecars_names_are_the_pods(running: FakeMesh) -> None:
    done = execute("webapp-0", "-c", "istio-proxy", "--", "cat", "/etc/resolv.conf")
    assert done.stdout == "nameserver 10.96.0.10\n"


@pytest.mark.parametrize(("command", "code"), [("no-such-program", 127), ("/etc/passwd", 126)])
def test_what_cannot_be_executed(running: FakeMesh, command: str, code: int) -> None:
    done = execute("webapp-0", "--", command)
    assert done.returncode == code
    assert command in done.stderr


@pytest.mark.parametrize("container", ["app", "istio-proxy"])
@pytest.mark.parametrize(("name", "code"), [("TERM", 143), ("KILL", 137), ("SEGV", 139)])
def test_a_signal_shows_in_the_exit_code(running: FakeMesh, container: str, name: str, code: int) -> None:
    """And ends the command alone: a script sees an exit code, not the death of pilotfish."""
    assert execute("webapp-0", "-c", container, "--", "sh", "-c", f"kill -{name} $$").returncode == code


def test_a_program_is_not_found_though_a_folder_of_path_is_closed(
    running: FakeMesh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sidecar's user may not look into root's own folders."""
    closed = tmp_path / "bin"
    closed.mkdir(mode=0o700)
    monkeypatch.setenv("PATH", f"{closed}:{os.environ['PATH']}")
    done = execute("webapp-0", "-c", "istio-proxy", "--", "no-such-program")
    assert (done.returncode, "No such file" in done.stderr) == (127, True)


def test_a_terminal_is_passed(running: FakeMesh) -> None:
    """The command sees the user's own terminal, of its size."""
    controller, terminal = pty.openpty()
    try:
        os.set_blocking(controller, True)
        subprocess.run(["stty", "rows", "33", "cols", "77"], stdin=terminal, check=True)
        with subprocess.Popen(
            [PILOTFISH, "exec", "-it", "webapp-0", "--", "sh", "-c", "test -t 0 && test -t 1 && stty size"],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
        ) as process:
            assert process.wait(30) == 0
        assert os.read(controller, 1000).decode().split() == ["33", "77"]
    finally:
        os.close(controller)
        os.close(terminal)


def test_a_terminal_that_is_not_there_is_said(running: FakeMesh) -> None:
    done = execute("-it", "webapp-0", "--", "echo", "on")
    assert (done.returncode, done.stdout) == (0, "on\n")
    assert "Unable to use a TTY" in done.stderr


def test_a_container_that_does_not_run(running: FakeMesh, invoke: Invoke) -> None:
    result = invoke("exec", "two", "-c", "broken", "--", "true")
    assert result.exit_code == 1
    assert "container broken in pod two.vm is not running (CrashLoopBackOff)" in result.stderr


def test_a_command_is_needed(running: FakeMesh, invoke: Invoke) -> None:
    result = invoke("exec", "webapp-0")
    assert result.exit_code == 2
    assert "you must specify a command for the container, after --" in result.stderr


def test_the_default_container_is_named_where_there_are_others(running: FakeMesh) -> None:
    assert execute("two", "--", "true").stderr == 'Defaulted container "app" out of: app, istio-proxy, broken\n'
    assert execute("two", "-c", "app", "--", "true").stderr == ""
    assert execute("webapp-0", "--", "true").stderr == ""
