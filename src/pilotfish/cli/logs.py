"""`pilotfish logs`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import click

from pilotfish.cli import complete
from pilotfish.cli.failure import Failure
from pilotfish.cli.follow import LogReader
from pilotfish.cli.options import container_option, mesh_option, namespace_option
from pilotfish.cli.selector import parse_selector, selects
from pilotfish.cli.session import Session, open_session
from pilotfish.cli.target import find_container, find_pod
from pilotfish.runtime.control.client import Unreachable, process_started
from pilotfish.runtime.control.views import ContainerView, PodView

_PAUSE = 0.05
"""Seconds between looks at the files while following."""
_ASK_AGAIN = 0.5
"""Seconds between questions to the mesh while a container does not run."""


@dataclass(slots=True)
class _Stream:
    """One container's log, being printed."""

    pod: PodView
    container: ContainerView
    reader: LogReader
    prefix: bytes = b""
    partial: bytes = field(default=b"")
    """The beginning of a line whose end is not written yet; only kept where lines get a prefix."""


@click.command("logs")
@click.argument("pod", metavar="[POD]", required=False, shell_complete=complete.pods)
@container_option
@click.option("-f", "--follow", is_flag=True, help="Go on as the log grows, across restarts, until the pod is gone.")
@click.option("--tail", type=int, default=-1, metavar="N", help="Only the last N lines. Default: all; 10 with -l.")
@click.option("-p", "--previous", is_flag=True, help="The log of the container's previous run.")
@click.option("-l", "--selector", default="", metavar="LABELS", help="All pods with these labels instead of one POD.")
@click.option("--all-containers", is_flag=True, help="All containers of the pod.")
@click.option("--prefix", is_flag=True, help="Put pod and container before each line.")
@namespace_option
@mesh_option
def command(
    pod: str | None,
    container: str | None,
    follow: bool,
    tail: int,
    previous: bool,
    selector: str,
    all_containers: bool,
    prefix: bool,
    namespace: str | None,
    mesh: str | None,
) -> None:
    """Print what a container of POD wrote. The sidecar's access log is in container istio-proxy.

    POD is NAME, NAME.NAMESPACE or deploy/NAME[.NAMESPACE].
    """
    if (pod is None) == (not selector):
        raise click.UsageError("give either a POD or --selector")
    if follow and previous:
        raise click.UsageError("a previous run's log does not grow: leave --follow or --previous out")
    if container and all_containers:
        raise click.UsageError("--container and --all-containers exclude each other")
    session = open_session(mesh, namespace)
    pods = _pods(session, pod, selector)
    lines = tail if tail >= 0 else (10 if selector else None)
    chosen = [(each, one) for each in pods for one in _containers(each, container, all_containers)]
    streams = [_stream(each, one, previous, lines, prefix, follow) for each, one in chosen]
    with ExitStack() as stack:
        for stream in streams:
            stack.callback(stream.reader.close)
            _print(stream, stream.reader.read(), last=not follow)
        if follow:
            _follow(streams, lambda: _pods_now(session))


def _pods(session: Session, pod: str | None, selector: str) -> tuple[PodView, ...]:
    pods = session.client.status().pods
    if pod is not None:
        return (find_pod(pods, pod, session.namespace),)
    labels = parse_selector(selector)
    found = tuple(each for each in pods if each.namespace == session.namespace and selects(labels, each.labels))
    if not found:
        raise Failure(f'no pod in namespace "{session.namespace}" has the labels {selector}')
    return found


def _pods_now(session: Session) -> tuple[PodView, ...]:
    """None where the mesh has been taken down meanwhile: that ends a log as the end of its pod does."""
    try:
        return session.client.status().pods
    except Unreachable:
        return ()


def _containers(pod: PodView, name: str | None, every: bool) -> Iterable[ContainerView]:
    return pod.containers if every else (find_container(pod, name),)


def _stream(
    pod: PodView, container: ContainerView, previous: bool, tail: int | None, prefix: bool, follow: bool
) -> _Stream:
    place = f"{pod.name}.{pod.namespace}"
    path = Path(container.log + ".1" if previous else container.log)
    if previous and not path.exists():
        raise Failure(f"previous terminated container {container.name} in pod {place} not found: it has not restarted")
    if not (path.exists() or follow):
        state = container.reason or container.state
        raise Failure(f"container {container.name} in pod {place} has written no log yet: it is {state}")
    label = f"[pod/{pod.name}/{container.name}] ".encode() if prefix else b""
    return _Stream(pod, container, LogReader(path, tail), label)


def _print(stream: _Stream, content: bytes, last: bool = False) -> None:
    """`last`: nothing follows, so that a line without an end is printed, too."""
    if stream.prefix:
        content = stream.partial + content
        cut = len(content) if last else content.rfind(b"\n") + 1
        content, stream.partial = content[:cut], content[cut:]
        content = b"".join(stream.prefix + line for line in content.splitlines(keepends=True))
    if content:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def _follow(streams: list[_Stream], pods: Callable[[], tuple[PodView, ...]]) -> None:
    """Until every container is gone for good."""
    pids = {id(stream): stream.container.pid for stream in streams}
    asked = 0.0
    while streams:
        contents = [stream.reader.read() for stream in streams]
        for stream, content in zip(streams, contents, strict=True):
            _print(stream, content)
        if not any(contents):
            time.sleep(_PAUSE)
            # A process that has ended is the sign to ask the mesh whether another will come.
            ended = [each for each in streams if not _lives(pids[id(each)])]
            if ended and time.monotonic() - asked > _ASK_AGAIN:
                streams = _still_there(streams, ended, pids, pods())
                asked = time.monotonic()


def _lives(pid: int | None) -> bool:
    return pid is not None and process_started(pid) is not None


def _still_there(
    streams: list[_Stream], ended: list[_Stream], pids: dict[int, int | None], pods: tuple[PodView, ...]
) -> list[_Stream]:
    """Without those whose pod is gone or has completed; what they wrote last is printed."""
    for stream in ended:
        pod = next((p for p in pods if (p.namespace, p.name) == (stream.pod.namespace, stream.pod.name)), None)
        now = next((c for c in pod.containers if c.name == stream.container.name), None) if pod else None
        pids[id(stream)] = now.pid if now else None
        if pod is None or now is None or _over(pod, now):
            _print(stream, stream.reader.read(), last=True)
            stream.reader.close()
    return [stream for stream in streams if not stream.reader.closed]


def _over(pod: PodView, container: ContainerView) -> bool:
    """An init container that completed, or a pod that did, does not start again."""
    completed = container.kind == "init" and container.state == "terminated" and container.exit_code == 0
    return completed or pod.phase in ("Succeeded", "Failed")
