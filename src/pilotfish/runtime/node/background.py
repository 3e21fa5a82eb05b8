"""`up --detach`: the same process in the background, watched until all is ready.

detach ─ stdin: Order (JSON) ─▶ background process ─ stdout: Event (JSON lines) ─▶ detach ─▶ on_event
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from pilotfish.node.publish import Publish
from pilotfish.runtime.control.client import Client, Unreachable
from pilotfish.runtime.control.views import StatusView
from pilotfish.runtime.node.options import CannotStart, Event, OnEvent, UpOptions

_STARTED = "started"
_REFUSED = "refused"
_SYNC = 5.0
"""Seconds that proxies get to acknowledge everything once all pods are ready."""


class Order(msgspec.Struct, frozen=True):
    name: str
    sources: tuple[str, ...]
    state_root: str
    publish: tuple[Publish, ...]
    mesh_config: str | None
    namespace: str
    stdin: str | None


class Line(msgspec.Struct, frozen=True):
    """`kind`: "event", or _STARTED or _REFUSED, which come last."""

    kind: str
    elapsed: float = 0.0
    text: str = ""
    severity: str = "info"


def detach(options: UpOptions, on_event: OnEvent, stdin: str | None = None) -> int:
    """Returns 0 when all is ready; 1 with the reasons as events if that takes longer than `ready_timeout`: the mesh
    then stays, to be looked at. CannotStart if it can't begin; then nothing is left behind."""
    if "-" in options.sources and stdin is None:
        stdin = sys.stdin.read()
    began = time.monotonic()
    order = Order(
        options.name,
        options.sources,
        str(options.state_root),
        options.publish,
        options.mesh_config,
        options.namespace,
        stdin,
    )
    _follow(_spawn(order), on_event)
    return _wait(options, on_event, began)


def serve() -> int:
    """The background process."""
    from pilotfish.runtime.node.up import run

    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    options = UpOptions(
        name=order.name,
        sources=order.sources,
        state_root=Path(order.state_root),
        publish=order.publish,
        mesh_config=order.mesh_config,
        namespace=order.namespace,
    )
    teller = _Teller(os.dup(1))
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
    try:
        return run(options, teller.event, order.stdin)
    except CannotStart as error:
        teller.last(Line(_REFUSED, text=str(error)))
        return 1


class _Teller:
    """Events to whoever started us, until the mesh stands; then nobody listens any more."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def event(self, event: Event) -> None:
        self._say(Line("event", event.elapsed, event.text, event.severity))
        if event.text == "discovery ready":
            self.last(Line(_STARTED))

    def last(self, line: Line) -> None:
        self._say(line)
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _say(self, line: Line) -> None:
        if self._descriptor < 0:
            return
        try:
            os.write(self._descriptor, msgspec.json.encode(line) + b"\n")
        except BrokenPipeError:
            self._descriptor = -1


def _spawn(order: Order) -> subprocess.Popen[bytes]:
    code = "from pilotfish.runtime.node.up import main; main()"
    # The name is for people who look at the list of processes.
    child = subprocess.Popen(
        [sys.executable, "-c", code, "up", "--name", order.name, "--detach"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    if child.stdin is not None:
        child.stdin.write(msgspec.json.encode(order))
        child.stdin.close()
    return child


def _follow(child: subprocess.Popen[bytes], on_event: OnEvent) -> None:
    """Until the mesh stands."""
    if child.stdout is None or child.stderr is None:
        return
    with child.stdout as lines, child.stderr as errors:
        for text in lines:
            line = msgspec.json.decode(text, type=Line)
            if line.kind == _STARTED:
                return
            if line.kind == _REFUSED:
                child.wait()
                raise CannotStart(line.text)
            on_event(Event(line.elapsed, line.text, line.severity))
        said = errors.read().decode(errors="replace").strip()
        code = child.wait()
    last = said.splitlines()[-1] if said else "it said nothing"
    raise CannotStart(f"the mesh's process ended with {code} before the mesh stood: {last}")


def _wait(options: UpOptions, on_event: OnEvent, began: float) -> int:
    """Until everything is ready, told of each pod as it becomes so."""
    client = Client(options.directory)
    deadline = began + options.ready_timeout
    seen, told, settled_at = -1, set[str](), 0.0
    try:
        while True:
            seen = client.events(seen, 1.0)
            status = client.status()
            now = time.monotonic()
            for pod in status.pods:
                name = f"{pod.name}.{pod.namespace}"
                if pod.ready and name not in told:
                    told.add(name)
                    on_event(Event(now - began, f"pod {name} ready"))
            if status.ready:
                return 0
            settled_at = (settled_at or now) if _settled(status) else 0.0
            if now > deadline or (settled_at and now - settled_at > _SYNC):
                return _report(status, on_event, now - began)
    except Unreachable as error:
        raise CannotStart(f"the mesh ended while it was awaited: {error}") from error


def _settled(status: StatusView) -> bool:
    return all(pod.ready or pod.phase == "Succeeded" for pod in status.pods)


def _report(status: StatusView, on_event: OnEvent, elapsed: float) -> int:
    """What is not as it should be. Proxies that refuse something are said, and still serve what they had."""
    waiting = [pod for pod in status.pods if not pod.ready and pod.phase != "Succeeded"]
    for pod in waiting:
        why = next((c.message for c in pod.containers if c.message), "")
        on_event(Event(elapsed, f"pod {pod.name}.{pod.namespace} is not ready: {pod.reason} {why}".rstrip(), "error"))
    for problem in status.problems:
        text = f"{problem.source} {problem.kind} {problem.namespace}/{problem.name} {problem.field}: {problem.message}"
        on_event(Event(elapsed, text.strip(), problem.severity))
    return 1 if waiting else 0
