"""Pods as `kubectl get pods` shows them."""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.cli.render.age import render_age
from pilotfish.cli.render.table import NONE, Table, table
from pilotfish.runtime.control.views import ContainerView, PodView


def render_pods(pods: Iterable[PodView], now: float, node: str = "", wide: bool = False) -> Table:
    """`node` is what stands in the NODE column: the mesh."""
    header = ("NAME", "READY", "STATUS", "RESTARTS", "AGE") + (("IP", "NODE") if wide else ())
    rows = []
    for pod in pods:
        row: tuple[str, ...] = (pod.name, ready(pod), status(pod), restarts(pod, now), render_age(now - pod.created_at))
        row += (pod.addresses[0] if pod.addresses else NONE, node) if wide else ()
        rows.append(row)
    return table(header, rows)


def ready(pod: PodView) -> str:
    """`2/2`: containers that stay, the proxy among them, as Kubernetes counts native sidecars."""
    staying = _staying(pod)
    return f"{sum(container.ready for container in staying)}/{len(staying)}"


def status(pod: PodView) -> str:
    return pod.reason or pod.phase


def restarts(pod: PodView, now: float) -> str:
    """`3 (10s ago)`: all of the pod's, and when the last one was."""
    count = sum(container.restarts for container in pod.containers)
    starts = [c.started_at for c in pod.containers if c.restarts and c.started_at is not None]
    return f"{count} ({render_age(now - max(starts))} ago)" if starts else str(count)


def _staying(pod: PodView) -> tuple[ContainerView, ...]:
    return tuple(container for container in pod.containers if container.kind != "init")
