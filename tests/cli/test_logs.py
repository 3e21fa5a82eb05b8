"""`pilotfish logs`: what was written, what is being written, and rotation."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotfish.cli.follow import LogReader
from pilotfish.runtime.control.views import PodView
from tests.cli.conftest import Invoke
from tests.cli.fakes import FakeMesh, container, pod


def logging_pod(mesh: FakeMesh, name: str = "webapp-0", pid: int | None = None, text: str = "") -> PodView:
    """A pod whose containers write to files of the test's."""
    logs = mesh.directory / name
    logs.mkdir(exist_ok=True)
    (logs / "app.log").write_text(text)
    (logs / "istio-proxy.log").write_text("[2026-11-22] GET / 200\n")
    both = (
        container("app", log=str(logs / "app.log"), pid=pid or os.getpid()),
        container("istio-proxy", "proxy", log=str(logs / "istio-proxy.log"), pid=os.getpid()),
    )
    return pod(name, containers=both)


def test_the_whole_log_or_its_end(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.set(pods=(logging_pod(mesh, text="one\ntwo\nthree\n"),))
    assert invoke("logs", "webapp-0").stdout == "one\ntwo\nthree\n"
    assert invoke("logs", "webapp-0.vm", "--tail", "2").stdout == "two\nthree\n"
    assert invoke("logs", "webapp-0", "-c", "istio-proxy").stdout == "[2026-11-22] GET / 200\n"


def test_the_previous_run(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.set(pods=(logging_pod(mesh),))
    result = invoke("logs", "webapp-0", "-p")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: previous terminated container app in pod webapp-0.vm not found: it has not restarted\n"
    )
    (mesh.directory / "webapp-0" / "app.log.1").write_text("before\n")
    assert invoke("logs", "webapp-0", "-p").stdout == "before\n"


def test_several_pods_with_prefixes(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.set(pods=(logging_pod(mesh, "a", text="x\ny"), logging_pod(mesh, "b", text="z\n")))
    result = invoke("logs", "-l", "app in (a,b)", "--prefix", "--tail", "1")
    assert result.stdout == "[pod/a/app] y[pod/b/app] z\n"
    assert invoke("logs", "-l", "app=c").stderr == 'error: no pod in namespace "vm" has the labels app=c\n'


def test_all_containers(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.set(pods=(logging_pod(mesh, text="x\n"),))
    assert invoke("logs", "webapp-0", "--all-containers").stdout == "x\n[2026-11-22] GET / 200\n"


def test_a_container_that_never_wrote(mesh: FakeMesh, invoke: Invoke) -> None:
    waiting = container(state="waiting", reason="ContainerCreating", pid=None, log=str(mesh.directory / "none.log"))
    mesh.set(pods=(pod("x", containers=(waiting,)),))
    result = invoke("logs", "x")
    assert result.exit_code == 1
    assert result.stderr == "error: container app in pod x.vm has written no log yet: it is ContainerCreating\n"


@pytest.mark.parametrize(
    "arguments",
    [[], ["x", "-l", "a=b"], ["x", "-f", "-p"], ["x", "-c", "app", "--all-containers"]],
)
def test_contradictions_are_usage_errors(mesh: FakeMesh, invoke: Invoke, arguments: list[str]) -> None:
    assert invoke("logs", *arguments).exit_code == 2


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for a container's."""
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_following_across_a_restart_until_the_pod_is_gone(mesh: FakeMesh, sleeper: subprocess.Popen[bytes]) -> None:
    """A real `logs -f`: each next step waits for the line that the last one led to."""
    mesh.set(pods=(logging_pod(mesh, pid=sleeper.pid, text="first\n"),))
    log = mesh.directory / "webapp-0" / "app.log"
    command = [Path(sys.executable).parent / "pilotfish", "logs", "webapp-0", "-f"]
    with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True) as follower:
        try:
            assert follower.stdout is not None
            assert follower.stdout.readline() == "first\n"
            with log.open("a") as file:
                file.write("second\n")
            assert follower.stdout.readline() == "second\n"
            with log.open("a") as file:
                file.write("last words\n")
            log.rename(f"{log}.1")
            log.write_text("third\n")
            assert follower.stdout.readline() == "last words\n"
            assert follower.stdout.readline() == "third\n"
            mesh.set(pods=())
            sleeper.kill()
            sleeper.wait()
            assert follower.stdout.read() == ""
            assert follower.wait(10) == 0
        finally:
            follower.kill()


@pytest.mark.parametrize("lines", [0, 1, 2, 3, 5])
@pytest.mark.parametrize(
    "text", ["", "a\n", "a\nb\nc\n", "a\nb\nc", "\n\n\n", "x" * 70_000 + "\ny\n" + "z" * 70_000 + "\n"]
)
def test_tail_is_what_tail_says(tmp_path: Path, text: str, lines: int) -> None:
    path = tmp_path / "log"
    path.write_text(text)
    expected = text.splitlines(keepends=True)[-lines:] if lines else []
    reader = LogReader(path, lines)
    assert reader.read().decode() == "".join(expected)
    reader.close()


def test_a_log_that_is_cut_or_appears_later(tmp_path: Path) -> None:
    path = tmp_path / "log"
    reader = LogReader(path)
    assert reader.read() == b""
    path.write_bytes(b"hello\n")
    assert reader.read() == b"hello\n"
    path.write_bytes(b"new\n")
    assert reader.read() == b"new\n"
    path.unlink()
    assert reader.read() == b""
    reader.close()
    assert reader.closed
