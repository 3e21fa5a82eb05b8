"""A request that is really sent from a pod, and what is seen of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from pilotfish.model.wellknown import DNS_PROXY_PORT
from pilotfish.runtime.control.views import PodView

if TYPE_CHECKING:
    from pilotfish.capture import Rule
    from pilotfish.cli.mesh.protocol import Mesh
    from pilotfish.explain.accesslog import AccessLogEntry
    from pilotfish.explain.ask import Ask
    from pilotfish.explain.live import Observed
    from pilotfish.explain.trace import End, Trace
    from pilotfish.runtime.echo.calls import Result

_LOGGED: Final = 5.0
"""Seconds for which the access log is waited for."""


def send(mesh: Mesh, pod: PodView, ask: Ask, trace: Trace) -> Observed:
    """From the pod's first container. `trace`: what is predicted of it."""
    from pilotfish.explain.live import Observed, is_logged

    before, began = _rules(mesh, pod, ask), time.time()
    (result,) = mesh.send(pod, [ask])
    after = _rules(mesh, pod, ask)
    counted = {id: rule for id, rule in after.items() if _packets(rule) > _packets(before.get(id))}
    is_awaited = result.source and (is_logged(trace) or any(map(_leads_to_proxy, counted.values())))
    entry = find_entry(mesh, pod, result, began) if pod.captured and is_awaited else None
    return Observed(result.status, end_of(result), entry, frozenset(counted) if after else None)


def end_of(result: Result) -> End:
    from pilotfish.explain.trace import End

    return End(result.end) if result.end else End.DELIVERED


def _packets(rule: Rule | None) -> int:
    return rule.counters.packets if rule is not None and rule.counters is not None else 0


def _leads_to_proxy(rule: Rule) -> bool:
    """Connections: the names that are asked for go to another port, and are not logged."""
    to = next((argument.value for argument in rule.arguments if argument.name == "--to-ports"), "")
    return rule.target == "REDIRECT" and to != str(DNS_PROXY_PORT)


def _rules(mesh: Mesh, pod: PodView, ask: Ask) -> dict[str, Rule]:
    """Those of the pod that count what they match, by their ids."""
    if not pod.captured:
        return {}
    ruleset = mesh.rules(pod, 6 if ":" in ask.address else 4)
    return {
        f"{table.name}/{chain.name}/{number}": rule
        for table in ruleset.tables
        for chain in table.chains
        for number, rule in enumerate(chain.rules, 1)
        if rule.counters is not None
    }


def find_entry(mesh: Mesh, pod: PodView, result: Result, since: float) -> AccessLogEntry | None:
    """What the pod's proxy wrote of it; None where it writes nothing for so long. `since`: when it was sent."""
    from pilotfish.explain.accesslog import parse_access_log

    deadline = time.monotonic() + _LOGGED
    while time.monotonic() < deadline:
        for lines in mesh.proxy_logs([pod], since):
            for line in reversed(lines):
                entry = parse_access_log(line) if result.source in line else None
                if entry is not None and entry.ends == (result.source, result.target):
                    return entry
        time.sleep(0.05)  # Envoy writes its log when it has time
    return None
