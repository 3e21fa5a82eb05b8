"""The policies that hold for one workload, in the order in which its proxy asks them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pilotfish.derive import Graph
from pilotfish.mesh.policy.policies import scope_of
from pilotfish.mesh.security.guards import Guard, authorization, guard_of, policy, token_rules
from pilotfish.model import ObjectRef, Proxy, Source
from pilotfish.model.authorization import Action, Unusable
from pilotfish.offline.world import World

TOKENS: Final = "JWT"
"""What a RequestAuthentication does, among the actions."""
_ORDER: Final = (Action.CUSTOM, TOKENS, Action.AUDIT, Action.DENY, Action.ALLOW)


@dataclass(frozen=True, slots=True)
class Holding:
    action: str
    """CUSTOM, JWT, AUDIT, DENY or ALLOW."""
    ref: ObjectRef
    rules: int
    note: str = ""
    """What is to be known of it beside."""
    source: Source | None = None


def find_holdings(world: World, proxy: Proxy) -> tuple[Holding, ...]:
    graph = world.mesh.graph
    guard = guard_of(graph, proxy, scope_of(graph, proxy))
    found = (*_policies(graph, guard), *_authentications(graph, guard))
    placed = sorted(found, key=lambda each: _ORDER.index(each.action))
    manifests = world.mesh.desired.manifests
    return tuple(_located(each, manifests[each.ref].source if each.ref in manifests else None) for each in placed)


def _policies(graph: Graph, guard: Guard) -> Iterator[Holding]:
    unusable = {
        each.provider.name: each.provider.reason
        for each in graph.get(authorization, guard, True).custom
        if isinstance(each.provider, Unusable)
    }
    for ref in guard.policies:
        found = graph.get(policy, ref)
        # One without rules has one that holds for nothing.
        count = sum(bool(rule.targets) for rule in found.rules)
        notes = ["dry run: it is told, not done"] if found.dry_run else []
        if found.provider in unusable:
            notes.append(f"what it covers is refused: {unusable[found.provider]}")
        elif found.provider:
            notes.append(f"asks {found.provider}")
        if not count:
            notes.append("holds for nothing")
        yield Holding(str(found.action), ref, count, "; ".join(notes))


def _authentications(graph: Graph, guard: Guard) -> Iterator[Holding]:
    for ref in guard.authentications:
        rules = graph.get(token_rules, ref)
        believed = ", ".join(rule.issuer or "any issuer" for rule in rules)
        yield Holding(TOKENS, ref, len(rules), f"tokens of {believed}" if believed else "")


def _located(holding: Holding, source: Source | None) -> Holding:
    return Holding(holding.action, holding.ref, holding.rules, holding.note, source)
