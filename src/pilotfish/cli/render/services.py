"""Services as `kubectl get services` shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pilotfish.cli.render.age import render_age
from pilotfish.cli.render.table import NONE, Table, table
from pilotfish.runtime.control.views import ServiceView


def render_services(services: Iterable[ServiceView], now: float, wide: bool = False) -> Table:
    header = ("NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE") + (("SELECTOR",) if wide else ())
    rows = []
    for service in services:
        ports, age = ",".join(service.ports) or NONE, render_age(now - service.created_at)
        external = ",".join(service.external) or ("<pending>" if service.type == "LoadBalancer" else NONE)
        row: tuple[str, ...] = (service.name, service.type, service.cluster_ip or NONE, external, ports, age)
        row += (render_labels(service.selector),) if wide else ()
        rows.append(row)
    return table(header, rows)


def render_labels(labels: Mapping[str, str]) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or NONE
