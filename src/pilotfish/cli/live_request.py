"""A request that is really sent from a pod, and what is seen of it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pilotfish.cli.failure import Failure
from pilotfish.model.wellknown import DNS_PROXY_PORT
from pilotfish.runtime.control.views import PodView

if TYPE_CHECKING:
    from pilotfish.capture import Rule
    from pilotfish.explain.accesslog import AccessLogEntry
    from pilotfish.explain.ask import Ask
    from pilotfish.explain.live import Observed
    from pilotfish.explain.trace import End, Trace
    from pilotfish.runtime.echo.calls import Result

_RUN: Final = "import sys; from pilotfish.cli import main; sys.argv[0] = 'pilotfish'; main()"
_LOGGED: Final = 5.0
"""Seconds for which the access log is waited for."""


def send(mesh: str, pod: PodView, ask: Ask, trace: Trace) -> Observed:
    """From the pod's first container. `trace`: what is predicted of it."""
    from pilotfish.explain.live import Observed, is_logged

    before = _rules(pod, ask)
    (result,) = perform(mesh, pod, [ask])
    after = _rules(pod, ask)
    counted = {id: rule for id, rule in after.items() if _packets(rule) > _packets(before.get(id))}
    is_awaited = result.source and (is_logged(trace) or any(map(_leads_to_proxy, counted.values())))
    entry = find_entry(pod, result) if pod.captured and is_awaited else None
    return Observed(result.status, end_of(result), entry, frozenset(counted))


def perform(mesh: str, pod: PodView, asks: list[Ask]) -> list[Result]:
    """One after the other, each over a connection of its own."""
    from pilotfish.runtime.echo.calls import build_calls, client_command, read_results

    place = f"{pod.name}.{pod.namespace}"
    command = [sys.executable, "-c", _RUN, "exec", "--name", mesh, place, "--", *client_command()]
    done = subprocess.run(command, input=build_calls(asks), capture_output=True, check=False)
    if done.returncode:
        raise Failure(f"nothing can be sent from {place}: {done.stderr.decode(errors='replace').strip()}")
    return read_results(done.stdout)


def end_of(result: Result) -> End:
    from pilotfish.explain.trace import End

    return End(result.end) if result.end else End.DELIVERED


def _packets(rule: Rule | None) -> int:
    return rule.counters.packets if rule is not None and rule.counters is not None else 0


def _leads_to_proxy(rule: Rule) -> bool:
    """Connections: the names that are asked for go to another port, and are not logged."""
    to = next((argument.value for argument in rule.arguments if argument.name == "--to-ports"), "")
    return rule.target == "REDIRECT" and to != str(DNS_PROXY_PORT)


def _rules(pod: PodView, ask: Ask) -> dict[str, Rule]:
    """Those of the pod that count what they match, by their ids."""
    import asyncio

    from pilotfish.runtime import capture
    from pilotfish.runtime.linux.netns import NetNs

    if not pod.captured:
        return {}
    ruleset = asyncio.run(capture.read(NetNs(Path(pod.netns)), 6 if ":" in ask.address else 4))
    return {
        f"{table.name}/{chain.name}/{number}": rule
        for table in ruleset.tables
        for chain in table.chains
        for number, rule in enumerate(chain.rules, 1)
        if rule.counters is not None
    }


def find_entry(pod: PodView, result: Result) -> AccessLogEntry | None:
    """What the pod's proxy wrote of it; None where it writes nothing for so long."""
    from pilotfish.explain.accesslog import parse_access_log

    log = next((Path(container.log) for container in pod.containers if container.kind == "proxy"), None)
    deadline = time.monotonic() + _LOGGED
    while log is not None and time.monotonic() < deadline:
        for line in reversed(log.read_text(errors="replace").splitlines()) if log.exists() else ():
            entry = parse_access_log(line) if result.source in line else None
            if entry is not None and entry.ends == (result.source, result.target):
                return entry
        time.sleep(0.05)  # Envoy writes its log when it has time
    return None
