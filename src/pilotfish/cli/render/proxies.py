"""Proxies as `istioctl proxy-status` shows them, with the objects that a proxy refused."""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.cli.render.problems import render_object
from pilotfish.cli.render.table import NONE, Table, table
from pilotfish.runtime.control.views import ProblemView, ProxyView


def render_proxies(proxies: Iterable[ProxyView], problems: tuple[ProblemView, ...], wide: bool = False) -> Table:
    header = ("NAME", "CDS", "LDS", "EDS", "RDS", "READY", "RESTARTS", "REFUSED")
    rows = []
    for proxy in proxies:
        row = (_name(proxy), *_types(proxy), str(proxy.ready).lower(), str(proxy.restarts), _refused(proxy, problems))
        pid = str(proxy.pid) if proxy.pid else NONE
        rows.append((*row, pid, proxy.node_id, _error(proxy)) if wide else row)
    return table((*header, "PID", "NODE ID", "ERROR") if wide else header, rows)


def sync(proxy: ProxyView) -> str:
    """One word or two for all four types: `SYNCED`, `RDS REFUSED`, `UNKNOWN`, ..."""
    if proxy.sync is None:
        return "UNKNOWN"
    if not proxy.sync.connected:
        return "DISCONNECTED"
    types = {"CDS": proxy.sync.cds, "LDS": proxy.sync.lds, "EDS": proxy.sync.eds, "RDS": proxy.sync.rds}
    for state in ("REFUSED", "STALE", "NOT SENT"):
        # Envoy asks for endpoints and routes only where clusters and listeners name some.
        named = [name for name, now in types.items() if now == state and (now != "NOT SENT" or name in ("CDS", "LDS"))]
        if named:
            return f"{','.join(named)} {state}"
    return "SYNCED"


def _types(proxy: ProxyView) -> tuple[str, ...]:
    if proxy.sync is None:
        return ("UNKNOWN",) * 4
    if not proxy.sync.connected:
        return ("DISCONNECTED",) * 4
    return (proxy.sync.cds, proxy.sync.lds, proxy.sync.eds, proxy.sync.rds)


def _refused(proxy: ProxyView, problems: tuple[ProblemView, ...]) -> str:
    """`VirtualService vm/calculator (mesh.yaml:12)` for each object that this proxy refused."""
    mine = (problem for problem in problems if _name(proxy) in problem.proxies)
    named = (render_object(p) + (f" ({p.source})" if p.source else "") for p in mine)
    return ", ".join(dict.fromkeys(named)) or NONE


def _error(proxy: ProxyView) -> str:
    return " ".join(proxy.sync.error.split()) if proxy.sync and proxy.sync.error else NONE


def _name(proxy: ProxyView) -> str:
    return f"{proxy.pod}.{proxy.namespace}"
