"""`podman pull`, and how far it is.

It draws its bars for a terminal alone: it is given one, and what it draws is read. The terminal is its own
(`setsid --ctty`), so that it hears a SIGHUP, and ends, when we are killed.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import termios
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.images.podman import reason
from pilotfish.runtime.linux.command import exited
from pilotfish.runtime.linux.packages import remedy

PATIENCE = 300.0
"""Seconds without a byte more after which a pull is given up, as containerd does (image_pull_progress_timeout)."""
_SIZE = struct.pack("HHHH", 200, 200, 0, 0)
_KEPT = 1 << 16
_BAR = re.compile(r"Copying blob (\w+) .*?([\d.]+)([KMGT]?i?)[Bb] / ([\d.]+)([KMGT]?i?)[Bb]")
_UNITS = {"": 1, **{unit: 1024**power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti"), 1)}}
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


async def pull(name: str, credentials: bytes | None, on_progress: Callable[[int, int], None]) -> None:
    """Returns when the image is there. MachineError if it can't be had, or nothing comes any more.

    `on_progress`: bytes that have come of the layers that did not lie here yet, and how many there are.
    """
    if shutil.which("podman") is None:
        raise MachineError("the program podman is missing", remedy("podman"))
    with ExitStack() as stack:
        argv = ["setsid", "--ctty", "podman", "pull", "--quiet=false"]
        if credentials is not None:
            argv += ["--authfile", _write(credentials, stack)]
        terminal, other = os.openpty()
        stack.callback(os.close, terminal)
        fcntl.ioctl(other, termios.TIOCSWINSZ, _SIZE)
        try:
            child = subprocess.Popen([*argv, name], stdin=other, stdout=other, stderr=other)
        finally:
            os.close(other)
        await _follow(child, terminal, name, on_progress)


async def _follow(
    child: subprocess.Popen[bytes], terminal: int, name: str, on_progress: Callable[[int, int], None]
) -> None:
    loop = asyncio.get_running_loop()
    reading = _Reading(terminal, on_progress)
    loop.add_reader(terminal, reading.read)
    watch = asyncio.ensure_future(_watch(child, reading))
    try:
        await exited(child.pid)
        reading.read()
    except asyncio.CancelledError:
        child.send_signal(signal.SIGKILL)
        raise
    finally:
        watch.cancel()
        loop.remove_reader(terminal)
        code = child.wait()
    if reading.stuck:
        raise MachineError(f"{name} can't be pulled: nothing came for {PATIENCE:.0f} s")
    if code:
        raise MachineError(f"{name} can't be pulled: {reason(reading.text)}")


class _Reading:
    def __init__(self, terminal: int, on_progress: Callable[[int, int], None]) -> None:
        self.text = ""
        self.stuck = False
        self._terminal = terminal
        self._on_progress = on_progress
        self._blobs: dict[str, tuple[int, int]] = {}
        os.set_blocking(terminal, False)

    @property
    def come(self) -> int:
        return sum(got for got, _ in self._blobs.values())

    def read(self) -> None:
        try:
            while piece := os.read(self._terminal, 65536):
                self.text = (self.text + _CONTROL.sub("", piece.decode(errors="replace")))[-_KEPT:]
        except OSError:  # nothing more now, or podman has closed its end
            pass
        blobs = {
            blob: (int(float(got) * _UNITS.get(unit, 1)), int(float(all_) * _UNITS.get(whole, 1)))
            for blob, got, unit, all_, whole in _BAR.findall(self.text)
        }
        if blobs.items() - self._blobs.items():
            self._blobs |= blobs
            self._on_progress(self.come, sum(whole for _, whole in self._blobs.values()))


async def _watch(child: subprocess.Popen[bytes], reading: _Reading) -> None:
    """A registry that says nothing more is not waited for without end. What is unpacked is progress, too."""
    seen: object = None
    while True:
        try:
            now: object = (reading.come, Path(f"/proc/{child.pid}/io").read_text())
        except OSError:
            return
        if now == seen:
            reading.stuck = True
            child.send_signal(signal.SIGKILL)
            return
        seen = now
        await asyncio.sleep(PATIENCE)


def _write(credentials: bytes, stack: ExitStack) -> str:
    """For podman's eyes alone, and no longer than it runs."""
    folder = tempfile.mkdtemp(prefix="pilotfish-")
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder, "auth.json")
    path.touch(mode=0o600)
    path.write_bytes(credentials)
    return str(path)
