"""`pilotfish logs`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field

import click

from pilotfish.cli import complete
from pilotfish.cli.duration import parse_duration
from pilotfish.cli.failure import Failure
from pilotfish.cli.meant import Meant
from pilotfish.cli.mesh.protocol import Log, LogRange
from pilotfish.cli.options import container_option, mesh_option, namespace_option
from pilotfish.cli.render.age import parse_timestamp
from pilotfish.cli.selector import parse_selector, selects
from pilotfish.cli.session import Reader, open_reader
from pilotfish.cli.target import find_container
from pilotfish.runtime.control.views import ContainerView, PodView

_PAUSE = 0.05
"""Seconds between looks at the files while following."""
_NO_ACCESS_LOG = (
    "the proxy has written nothing: requests are not logged, as no access log is configured; set accessLogFile: "
    "/dev/stdout in the meshConfig (ConfigMap istio, namespace istio-system)"
)


@dataclass(slots=True)
class _Stream:
    """One container's log, being printed."""

    log: Log
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
    mesh: Meant,
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
    reader = open_reader(mesh, namespace)
    chosen = (reader.find_pod(pod),) if pod is not None else _labelled(reader, selector)
    lines = tail if tail >= 0 else (10 if selector else None)
    wanted = LogRange(lines, begin, previous, timestamps, follow)
    with ExitStack() as stack:
        streams = []
        for each, one in ((a, b) for a in chosen for b in _containers(a, container, all_containers)):
            label = f"[pod/{each.name}/{one.name}] ".encode() if prefix else b""
            stream = _Stream(reader.mesh.open_log(each, one, wanted), label)
            stack.callback(stream.log.close)
            streams.append(stream)
            content = stream.log.read()
            _print(stream, content, last=not follow)
            is_silent = one.kind == "proxy" and not content and stream.log.is_empty
            if is_silent and not reader.mesh.logs_requests():
                click.echo(_NO_ACCESS_LOG, err=True)
        if follow:
            _follow(streams)


def _moment(text: str) -> float:
    found = parse_timestamp(text)
    if found is None:
        raise click.UsageError(f"--since-time {text} is no time; write it as 2026-11-26T07:00:00Z")
    return found


def _labelled(reader: Reader, selector: str) -> tuple[PodView, ...]:
    labels = parse_selector(selector)
    pods = reader.mesh.pods().pods
    found = tuple(each for each in pods if each.namespace == reader.namespace and selects(labels, each.labels))
    if not found:
        raise Failure(f'no pod in namespace "{reader.namespace}" has the labels {selector}')
    return found


def _containers(pod: PodView, name: str | None, every: bool) -> Iterable[ContainerView]:
    return pod.containers if every else (find_container(pod, name),)


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


def _follow(streams: list[_Stream]) -> None:
    """Until every container is gone for good."""
    while streams:
        contents = [stream.log.read() for stream in streams]
        for stream, content in zip(streams, contents, strict=True):
            _print(stream, content)
        if not any(contents):
            time.sleep(_PAUSE)
            over = [stream for stream in streams if stream.log.is_over]
            for stream in over:
                _print(stream, stream.log.read(), last=True)
            streams = [stream for stream in streams if stream not in over]
