"""All that is wrong: with files, with objects, and with what Envoy refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pilotfish.ads.order import short
from pilotfish.model import Problem
from pilotfish.model.proxy import NodeId
from pilotfish.runtime.control.views import ProblemView
from pilotfish.runtime.discovery.hub import Hub
from pilotfish.runtime.discovery.quarantine import Verdict


@dataclass(frozen=True, slots=True)
class Refusal:
    """What Envoy refused, with the proxies that did, by node id."""

    problem: Problem
    type_url: str
    proxies: frozenset[str]


def refusals(hub: Hub) -> Iterator[Refusal]:
    for ref, verdict in sorted(hub.quarantine.guilty.items()):
        manifest = hub.mesh.manifest(ref)
        force = "its last good form stays in force" if hub.mesh.has_fallback(ref) else "it is not used"
        message = (
            f"Envoy refuses what follows from it ({_what(verdict)}): {verdict.message}; {force} until it is changed"
        )
        source = manifest.source if manifest else None
        problem = Problem(ref, "", "RefusedByEnvoy", message, source=source)
        yield Refusal(problem, verdict.type_url, frozenset(verdict.proxies))
    for verdict in hub.quarantine.unexplained.values():
        message = (
            f"Envoy refuses {_what(verdict)}: {verdict.message}; what the proxies have of it stays in force, "
            "and no single object explains it: undo the latest change, of the meshConfig too"
        )
        yield Refusal(Problem(None, "", "RefusedByEnvoy", message), verdict.type_url, frozenset(verdict.proxies))


def _what(verdict: Verdict) -> str:
    return f"{short(verdict.type_url).upper()} {verdict.name}"


def proxy_name(node_id: str) -> str:
    """`name.namespace`."""
    found = NodeId.parse(node_id)
    return found.pod if found else node_id


def all_views(hub: Hub) -> tuple[ProblemView, ...]:
    """Of the files, of the objects as a whole, and of what was refused; each once."""
    refused = [ProblemView.of(r.problem, tuple(sorted(proxy_name(p) for p in r.proxies))) for r in refusals(hub)]
    found = dict.fromkeys((*hub.mesh.desired.problems, *hub.mesh.problems()))
    return (*refused, *(ProblemView.of(problem) for problem in found))
