"""`up --detach`: the same process in the background, listened to until all is ready.

detach ─ stdin: Order (JSON) ─▶ background process ─ stdout: Line (JSON lines) ─▶ detach ─▶ on_progress
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from pilotfish.runtime.control.client import Client, Unreachable
from pilotfish.runtime.node.options import CannotStart, OnProgress, ProgressLine, UpOptions


class Order(msgspec.Struct, frozen=True):
    options: UpOptions
    stdin: str | None


def _decode(kind: type[Any], text: str) -> object:
    """What JSON has no type for was written as text."""
    return Path(text) if kind is Path else kind(text)


class Line(msgspec.Struct, frozen=True):
    """Exactly one is set. `refused` says why nothing was made, and is the last."""

    progress: ProgressLine | None = None
    refused: str = ""


def detach(options: UpOptions, on_progress: OnProgress, stdin: str | None = None) -> int:
    """See `pilotfish.runtime.node.detach`."""
    if "-" in options.sources and stdin is None:
        stdin = sys.stdin.read()
    began = time.monotonic()
    child = _spawn(Order(options, stdin))
    try:
        return _follow(child, options, on_progress, began)
    except KeyboardInterrupt:
        child.send_signal(signal.SIGTERM)
        child.wait()
        raise


def serve() -> int:
    """The background process."""
    from pilotfish.runtime.node.up import run

    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order, dec_hook=_decode)
    teller = _Teller(os.dup(1))
    null = os.open(os.devnull, os.O_RDWR)
    # What goes wrong before the mesh stands is said on stderr, too; _Teller closes it after that.
    for descriptor in (0, 1):
        os.dup2(null, descriptor)
    os.close(null)
    try:
        return run(order.options, teller.progress, order.stdin)
    except CannotStart as error:
        teller.last(Line(refused=str(error)))
        return 1


class _Teller:
    """Events to whoever started us, until all is ready; then nobody listens any more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def progress(self, line: ProgressLine) -> None:
        self._say(Line(line))
        if line.ready:
            self._close()

    def last(self, line: Line) -> None:
        self._say(line)
        self._close()

    def _say(self, line: Line) -> None:
        if self._descriptor < 0:
            return
        try:
            os.write(self._descriptor, msgspec.json.encode(line) + b"\n")
        except BrokenPipeError:
            self._close()

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 2)
            os.close(null)


def _spawn(order: Order) -> subprocess.Popen[bytes]:
    code = "import sys; from pilotfish.runtime.node.background import serve; sys.exit(serve())"
    # The words after the code are for people who look at the list of processes.
    child = subprocess.Popen(
        [sys.executable, "-c", code, "up", "--name", order.options.name, "--detach"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    if child.stdin is not None:
        child.stdin.write(msgspec.json.encode(order, enc_hook=str))
        child.stdin.close()
    return child


def _follow(child: subprocess.Popen[bytes], options: UpOptions, on_progress: OnProgress, began: float) -> int:
    """Until all is ready, the child ends, or the time is over."""
    if child.stdout is None or child.stderr is None:
        raise ValueError("the child needs pipes")
    with child.stdout as output, child.stderr as errors:
        for text in _lines(output, began + options.ready_timeout):
            if text is None:
                return _report(options, on_progress, time.monotonic() - began)
            line = msgspec.json.decode(text, type=Line)
            if line.progress is None:
                child.wait()
                raise CannotStart(line.refused)
            on_progress(line.progress)
            if line.progress.ready:
                return 0
        said = errors.read().decode(errors="replace").strip()
    code = child.wait()
    if code == 0:
        raise CannotStart("the mesh was taken down, by a signal or `pilotfish down`, before all was ready")
    last = said.splitlines()[-1] if said else f"see {options.directory}/node.log"
    raise CannotStart(f"the mesh ended (exit code {code}) before all was ready: {last}")


def _lines(output: IO[bytes], deadline: float) -> Iterator[bytes | None]:
    """Each line as it comes; None, as the last, when the time is over first."""
    buffer = b""
    while True:
        left = deadline - time.monotonic()
        readable, _, _ = select.select([output], [], [], max(0.0, left))
        if not readable:
            yield None
            return
        chunk = os.read(output.fileno(), 65536)
        if not chunk:
            return
        *lines, buffer = (buffer + chunk).split(b"\n")
        yield from lines


def _report(options: UpOptions, on_progress: OnProgress, elapsed: float) -> int:
    """What is not as it should be, though there was time enough."""
    try:
        status = Client(options.directory).status()
    except Unreachable as error:
        raise CannotStart(f"the mesh does not answer: {error}") from error
    for pod in status.pods:
        if not pod.ready and pod.phase != "Succeeded":
            why = next((c.message for c in pod.containers if c.message), "")
            text = f"pod {pod.name}.{pod.namespace} is not ready: {pod.reason} {why}".rstrip()
            on_progress(ProgressLine(elapsed, text, "error"))
    seconds = f"{options.ready_timeout:g} s"
    on_progress(
        ProgressLine(elapsed, f"not everything is ready after {seconds}; the mesh stays, to be looked at", "error")
    )
    return 1
