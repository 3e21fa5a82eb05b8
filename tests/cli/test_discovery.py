"""`pilotfish discovery` as a process: how it starts, fails and ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

RUN = "import sys; from pilotfish.cli import main; sys.argv[0] = 'pilotfish'; main()"


def start(*words: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", RUN, "discovery", *words]
    return subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def failed(*words: str) -> tuple[int, str]:
    with start(*words) as process:
        _, said = process.communicate(timeout=20)
        return process.returncode, said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_told_to(tmp_path: Path, number: signal.Signals) -> None:
    address = ("--xds-address", "127.0.0.1:0", "--monitoring-address", "127.0.0.1:0")
    with start("--config", str(tmp_path), *address) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "serving xDS on 127.0.0.1:" in line:
                break
        process.send_signal(number)
        assert process.wait(timeout=10) == 0


def test_a_taken_port_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = failed(
            "--config", str(tmp_path), "--xds-address", f"127.0.0.1:{port}", "--monitoring-address", "127.0.0.1:0"
        )
    assert code == 1
    assert said.splitlines()[-1].startswith(f"error: --xds-address 127.0.0.1:{port} can't be listened on")
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--xds-address", "0.0.0.0:0"), 1, "--allow-plaintext"),
        (("--xds-address", "here"), 2, "HOST:PORT"),
        (("--config", "/nonexistent/mesh.yaml"), 1, "does not exist"),
    ],
)
def test_what_it_can_not_start_with(tmp_path: Path, words: tuple[str, ...], code: int, text: str) -> None:
    found, said = failed("--config", str(tmp_path), "--monitoring-address", "127.0.0.1:0", *words)
    assert found == code
    assert text in said
    assert "Traceback" not in said
