"""Problems of Gateways: servers that older ones leave nothing to."""

from __future__ import annotations

from collections.abc import Mapping

from pilotfish.derive import Reads, query
from pilotfish.mesh.gateways.merging import Clash, Conflict, merged
from pilotfish.mesh.gateways.selection import Front, selectors
from pilotfish.mesh.inputs import Labels
from pilotfish.mesh.problems.routing import warning
from pilotfish.model import ObjectRef, Problem


@query
def gateway_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    return tuple(_described(db, conflict) for conflict in _lost_by(db, ref))


def _described(db: Reads, conflict: Conflict) -> Problem:
    ref, field = conflict.loser.object, conflict.loser.field
    if conflict.clash is Clash.HOST:
        names = ", ".join(name or "*" for name in conflict.names)
        text = f"{conflict.winner} is older and has {names} on this port, so this server is not opened; remove one"
        return warning(db, ref, f"{field}.hosts", conflict.clash, text)
    text = (
        f"{conflict.winner} is older and has this port for another protocol, so this server is not opened; give each "
        f"its own port: only servers of HTTP share one, and those that a server name tells apart (HTTPS, TLS)"
    )
    return warning(db, ref, f"{field}.port", conflict.clash, text)


@query(index=True)
def _lost_by(db: Reads, ref: ObjectRef) -> tuple[Conflict, ...]:
    return _conflicts(db).get(ref, ())


@query(index=True)
def _conflicts(db: Reads) -> Mapping[ObjectRef, tuple[Conflict, ...]]:
    """By who lost, at pods with just the labels of some Gateway's selector."""
    found: dict[ObjectRef, dict[Conflict, None]] = {}
    for labels in dict.fromkeys(labels for _, labels in selectors(db)):
        for conflict in merged(db, front_with(db, labels)).conflicts:
            found.setdefault(conflict.loser.object, {})[conflict] = None
    return {ref: tuple(conflicts) for ref, conflicts in found.items()}


@query(index=True)
def front_with(db: Reads, labels: Labels) -> Front:
    """Of gateways with these labels, to which no Service leads."""
    own = set(labels)
    return Front(tuple(ref for ref, selector in selectors(db) if own.issuperset(selector)))
