"""Proxies as `istioctl proxy-status` shows them, with the objects that a proxy refused."""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.cli.render.problems import render_object
from pilotfish.cli.render.table import NONE, Table, table
from pilotfish.envoy.types import SHOWN
from pilotfish.runtime.control.views import ProblemView, ProxyView

_TYPES = tuple(row.short for row in SHOWN)


def render_proxies(proxies: Iterable[ProxyView], problems: tuple[ProblemView, ...], wide: bool = False) -> Table:
    """With the replica of discovery that each is connected to, where there are several, and with the machine whose
    proxy serves pods that have none of their own."""
    proxies = tuple(proxies)
    several, shared = any(proxy.discovery for proxy in proxies), any(proxy.machine for proxy in proxies)
    header = (
        *("NAME", *(name.upper() for name in _TYPES), "READY", "RESTARTS", "REFUSED"),
        *(("DISCOVERY",) if several else ()),
        *(("SERVED BY",) if shared else ()),
    )
    rows = []
    for proxy in proxies:
        row = (_name(proxy), *_types(proxy), str(proxy.ready).lower(), str(proxy.restarts), _refused(proxy, problems))
        row += (proxy.discovery or NONE,) if several else ()
        row += (f"machine {proxy.machine}" if proxy.machine else "itself",) if shared else ()
        pid = str(proxy.pid) if proxy.pid else NONE
        rows.append((*row, pid, proxy.node_id, _error(proxy)) if wide else row)
    return table((*header, "PID", "NODE ID", "ERROR") if wide else header, rows)


def own(proxies: Iterable[ProxyView]) -> tuple[ProxyView, ...]:
    """Those that are Envoys, and no pods behind their machine's."""
    return tuple(proxy for proxy in proxies if not proxy.machine)


def sync(proxy: ProxyView) -> str:
    """One word or two for all types: `SYNCED`, `RDS REFUSED`, `UNKNOWN`, ..."""
    if proxy.sync is None:
        return "UNKNOWN"
    if not proxy.sync.connected:
        return "DISCONNECTED"
    state, types = proxy.sync.worst
    return f"{','.join(types).upper()} {state}".lstrip()


def _types(proxy: ProxyView) -> tuple[str, ...]:
    if proxy.sync is None:
        return ("UNKNOWN",) * len(_TYPES)
    if not proxy.sync.connected:
        return ("DISCONNECTED",) * len(_TYPES)
    return tuple(proxy.sync.types.get(name, "NOT SENT") for name in _TYPES)


def _refused(proxy: ProxyView, problems: tuple[ProblemView, ...]) -> str:
    """`VirtualService vm/calculator (mesh.yaml:12)` for each object that this proxy refused."""
    mine = (problem for problem in problems if _name(proxy) in problem.proxies)
    named = (render_object(p) + (f" ({p.source})" if p.source else "") for p in mine)
    return ", ".join(dict.fromkeys(named)) or NONE


def _error(proxy: ProxyView) -> str:
    return " ".join(proxy.sync.error.split()) if proxy.sync and proxy.sync.error else NONE


def _name(proxy: ProxyView) -> str:
    return f"{proxy.pod}.{proxy.namespace}"
