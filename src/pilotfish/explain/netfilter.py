"""What a pod's netfilter rules do with a connection: one step, with the rule that decided and those that did not."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from pilotfish.capture import (
    Connection,
    Direction,
    Dropped,
    Redirected,
    Tproxied,
    Translated,
    Unknown,
    Verdict,
    Visit,
    VisitEvent,
)
from pilotfish.explain.scene import Station
from pilotfish.explain.trace import Branch, Rejected, Stage
from pilotfish.explain.trace import Verdict as Taken
from pilotfish.model.wellknown import PROXY_GID, PROXY_UID


def leave(branch: Branch, station: Station, address: str, port: int, uid: int) -> tuple[Branch, Verdict]:
    """A connection that the pod's app opens."""
    found = ip_address(address)
    connection = Connection(
        Direction.OUT, "tcp", found, port, uid=uid, gid=PROXY_GID if uid == PROXY_UID else uid,
        local=address in station.addresses or found.is_loopback,
    )  # fmt: skip
    return _step(branch, station, connection)


def arrive(branch: Branch, station: Station, address: str, port: int, source: str) -> tuple[Branch, Verdict]:
    """One that comes from elsewhere."""
    found = ip_address(address)
    by = ip_address(source) if source and ip_address(source).version == found.version else None
    return _step(branch, station, Connection(Direction.IN, "tcp", found, port, source=by))


def _step(branch: Branch, station: Station, connection: Connection) -> tuple[Branch, Verdict]:
    evaluation = station.evaluator(connection.family).evaluate(connection)
    verdict, visited = evaluation.verdict, evaluation.visited
    deciding = next((visit for visit in visited if visit.id == verdict.rule), None)
    step = branch.step(
        Stage.NETFILTER,
        verdict.rule or "no rule",
        verdict=_taken(verdict),
        evidence={
            "connection": str(connection),
            "verdict": str(verdict),
            "rule": str(deciding.rule) if deciding is not None and deciding.rule is not None else "",
            "chains": [visit.id for visit in visited if visit.event is VisitEvent.ENTERED],
        },
        rejected=_passed_by(visited),
    )
    return step, verdict


def _taken(verdict: Verdict) -> Taken:
    if isinstance(verdict, Unknown):
        return Taken.UNKNOWN
    return Taken.REFUSED if isinstance(verdict, Dropped) else Taken.TAKEN


def _passed_by(visited: tuple[Visit, ...]) -> Iterator[Rejected]:
    return (Rejected(v.id, v.why) for v in visited if v.event is VisitEvent.NOT_MATCHED)


def proxy_port(verdict: Verdict) -> int | None:
    """Of the pod's proxy, where the rules send the connection to it."""
    return verdict.port if isinstance(verdict, Redirected | Tproxied) else None


def translated(verdict: Verdict) -> tuple[str, int] | None:
    return (str(verdict.destination), verdict.port) if isinstance(verdict, Translated) else None
