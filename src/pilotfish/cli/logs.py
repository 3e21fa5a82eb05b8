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
from pilotfish.cli.duration import parse_duration
from pilotfish.cli.failure import Failure
from pilotfish.cli.follow import LogReader
from pilotfish.cli.options import container_option, mesh_option, namespace_option
from pilotfish.cli.render.age import parse_timestamp
from pilotfish.cli.selector import parse_selector, selects
from pilotfish.cli.session import Session, open_session
from pilotfish.cli.target import find_container, find_pod
from pilotfish.runtime.control.client import Unreachable, process_started
from pilotfish.runtime.control.views import ContainerView, PodView, StatusView

_PAUSE = 0.05
"""Seconds between looks at the files while following."""
_ASK_AGAIN = 0.5
"""Seconds between questions to the mesh while a container does not run."""


_NO_ACCESS_LOG = (
    "the proxy has written nothing: requests are not logged, as no access log is configured; set accessLogFile: "
    "/dev/stdout in the meshConfig (ConfigMap istio, namespace istio-system)"
)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Of each log."""

    previous: bool
    lines: int | None
    since: float | None
    timestamps: bool
    prefix: bool
    follow: bool


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
@click.option("--since", type=parse_duration, default=None, metavar="DURATION", help="Nothing older than that.")
@click.option("--since-time", default="", metavar="TIME", help="Nothing from before: 2026-11-26T07:00:00Z.")
@click.option("--timestamps", is_flag=True, help="Put the time before each line.")
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
    since: float | None,
    since_time: str,
    timestamps: bool,
    prefix: bool,
    namespace: str | None,
    mesh: str | None,
) -> None:
    """Print what a container of POD wrote. The sidecar's access log is in container istio-proxy.

    POD is NAME, NAME.NAMESPACE, deploy/NAME[.NAMESPACE] or svc/NAME[.NAMESPACE].
    """
    if (pod is None) == (not selector):
        raise click.UsageError("give either a POD or --selector")
    if follow and previous:
        raise click.UsageError("a previous run's log does not grow: leave --follow or --previous out")
    if container and all_containers:
        raise click.UsageError("--container and --all-containers exclude each other")
    if since is not None and since_time:
        raise click.UsageError("--since and --since-time exclude each other")
    begin = _moment(since_time) if since_time else None if since is None else time.time() - since
    session = open_session(mesh, namespace)
    view = session.client.status()
    pods = _pods(view, session.namespace, pod, selector)
    lines = tail if tail >= 0 else (10 if selector else None)
    wanted = _Wanted(previous, lines, begin, timestamps, prefix, follow)
    chosen = [(each, one) for each in pods for one in _containers(each, container, all_containers)]
    streams = [_stream(each, one, wanted) for each, one in chosen]
    with ExitStack() as stack:
        for stream in streams:
            stack.callback(stream.reader.close)
            content = stream.reader.read()
            _print(stream, content, last=not follow)
            if not content and stream.reader.is_empty and stream.container.kind == "proxy" and not view.access_log:
                click.echo(_NO_ACCESS_LOG, err=True)
        if follow:
            _follow(streams, lambda: _pods_now(session))


def _moment(text: str) -> float:
    found = parse_timestamp(text)
    if found is None:
        raise click.UsageError(f"--since-time {text} is no time; write it as 2026-11-26T07:00:00Z")
    return found


def _pods(view: StatusView, namespace: str, pod: str | None, selector: str) -> tuple[PodView, ...]:
    if pod is not None:
        return (find_pod(view, pod, namespace),)
    labels = parse_selector(selector)
    found = tuple(each for each in view.pods if each.namespace == namespace and selects(labels, each.labels))
    if not found:
        raise Failure(f'no pod in namespace "{namespace}" has the labels {selector}')
    return found


def _pods_now(session: Session) -> tuple[PodView, ...]:
    """None where the mesh has been taken down meanwhile: that ends a log as the end of its pod does."""
    try:
        return session.client.status().pods
    except Unreachable:
        return ()


def _containers(pod: PodView, name: str | None, every: bool) -> Iterable[ContainerView]:
    return pod.containers if every else (find_container(pod, name),)


def _stream(pod: PodView, container: ContainerView, wanted: _Wanted) -> _Stream:
    place = f"{pod.name}.{pod.namespace}"
    path = Path(container.log + ".1" if wanted.previous else container.log)
    if wanted.previous and not path.exists():
        raise Failure(f"previous terminated container {container.name} in pod {place} not found: it has not restarted")
    if not (path.exists() or wanted.follow):
        state = container.reason or container.state
        raise Failure(f"container {container.name} in pod {place} has written no log yet: it is {state}")
    label = f"[pod/{pod.name}/{container.name}] ".encode() if wanted.prefix else b""
    return _Stream(pod, container, LogReader(path, wanted.lines, wanted.since, wanted.timestamps), label)


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
