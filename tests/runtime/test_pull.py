"""`podman pull` as it is read: how far it is, why it failed, and that it does not outlive us. A script plays podman."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.images import pull as pulling
from pilotfish.runtime.images.pull import pull
from tests.waiting import wait_until

BARS = r"""
printf 'Trying to pull x...\r\nGetting image source signatures\r\n'
printf 'Copying blob 17c50bae3690 skipped: already exists  \r\nCopying blob 2951da8f9956 [=>--] 1.5MiB / 3.0MiB\r\n'
printf '\033[2A\033[JCopying blob 17c50bae3690 skipped: already exists  \r\n'
printf 'Copying blob 2951da8f9956 [==>-] 3.0MiB / 3.0MiB | 1.2 MiB/s\r\n'
printf 'Copying blob ab94282d64da [==>-] 512.0KiB / 1.0MiB\r\n'
"""  # fmt: skip


@pytest.fixture
def podman(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "podman"


def write(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


async def test_bytes_are_counted_over_all_layers(podman: Path) -> None:
    write(podman, BARS)
    said: list[tuple[int, int]] = []
    await pull("x", None, lambda come, whole: said.append((come, whole)))
    mebi = 1 << 20
    assert said[-1] == (3 * mebi + mebi // 2, 4 * mebi)
    assert said == sorted(said)


async def test_why_it_failed_is_podmans_last_word(podman: Path) -> None:
    write(podman, f"{BARS}echo 'Error: reading manifest 1 in x: manifest unknown' >&2; exit 125")
    with pytest.raises(MachineError, match=r"x can't be pulled: reading manifest 1 in x: manifest unknown"):
        await pull("x", None, lambda *_: None)


async def test_credentials_are_for_podman_alone_and_go_with_it(podman: Path, tmp_path: Path) -> None:
    write(podman, f'stat -c "%a %n" "$4" > {tmp_path}/said; cat "$4" >> {tmp_path}/said')
    await pull("x", b"secret", lambda *_: None)
    mode, rest = (tmp_path / "said").read_text().split(" ", 1)
    path, content = rest.split("\n")
    assert (mode, content) == ("600", "secret")
    assert not Path(path).parent.exists()


async def test_nothing_is_waited_for_without_end(podman: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(podman, "exec sleep 1000")
    monkeypatch.setattr(pulling, "PATIENCE", 0.3)
    with pytest.raises(MachineError, match="nothing came for"):
        await pull("x", None, lambda *_: None)


async def test_who_gives_it_up_ends_it(podman: Path, tmp_path: Path) -> None:
    write(podman, f"echo $$ > {tmp_path}/pid; exec sleep 1000")
    task = asyncio.ensure_future(pull("x", None, lambda *_: None))
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def test_it_does_not_outlive_us(podman: Path, tmp_path: Path) -> None:
    write(podman, f"echo $$ > {tmp_path}/pid; exec sleep 1000")
    program = "import asyncio; from pilotfish.runtime.images.pull import pull; asyncio.run(pull('x', None, print))"
    killed = subprocess.Popen([sys.executable, "-c", program])
    try:
        pid = wait_until("its start", lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    wait_until("its end", lambda: not Path("/proc", pid).exists())


async def test_without_podman_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MachineError, match="apt-get install podman"):
        await pull("x", None, lambda *_: None)
