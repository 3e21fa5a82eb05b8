"""Which requests would go another way after a change: those of a test file, or those that proxies have logged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pilotfish.cli.failure import Failure
from pilotfish.explain.ask import OUTSIDE

if TYPE_CHECKING:
    from pilotfish.cli.mesh.protocol import Mesh
    from pilotfish.explain.accesslog import AccessLogEntry
    from pilotfish.explain.ask import Ask
    from pilotfish.explain.report import Report
    from pilotfish.explain.scene import Scene
    from pilotfish.explain.trace import Trace
    from pilotfish.offline.world import World


@dataclass(frozen=True, slots=True)
class Asked:
    source: str
    """As `explain` takes FROM."""
    namespace: str
    """Of a source that names none."""
    ask: Ask
    count: int = 1
    """So many were alike."""


@dataclass(frozen=True, slots=True)
class Told:
    """A way, as `explain` tells it."""

    trace: Trace
    report: Report
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ChangedWay:
    asked: Asked
    before: Told | None
    """None where who asks is not there."""
    after: Told | None


def read_cases(file: str) -> Iterator[Asked]:
    from pilotfish.cli.test import read_case_file

    found = read_case_file(file)
    for case in found.cases:
        try:
            yield Asked(case.source, found.namespace, case.ask())
        except ValueError as error:
            raise Failure(f"{file}: {case.title}: {error}") from error


def read_logs(mesh: Mesh, since: float) -> Iterator[Asked]:
    """What was sent after this (seconds since the epoch), as far as an access log tells it: without its headers."""
    from pilotfish.explain.accesslog import parse_access_log
    from pilotfish.explain.why import ask_of

    pods = mesh.pods().pods
    for pod, lines in zip(pods, mesh.proxy_logs(pods, since), strict=True):
        alike: dict[tuple[str, ...], list[AccessLogEntry]] = {}
        for entry in filter(None, map(parse_access_log, lines)):
            if not entry.is_inbound and _time(entry) >= since:
                alike.setdefault(_likeness(entry), []).append(entry)
        # Who called a gateway is not known.
        source = OUTSIDE if pod.gateway else pod.name
        for each in alike.values():
            # Where it went is what may be another.
            yield Asked(source, pod.namespace, replace(ask_of(each[0]), went_to=""), len(each))


def _likeness(entry: AccessLogEntry) -> tuple[str, ...]:
    request = entry.method, entry.authority, entry.path, entry.protocol
    return *request, entry.downstream_local_address, entry.requested_server_name


def _time(entry: AccessLogEntry) -> float:
    return datetime.fromisoformat(entry.start_time).astimezone(UTC).timestamp()


def find_changed(before: World, after: World, asked: Iterable[Asked]) -> Iterator[ChangedWay]:
    from pilotfish.explain.trace import is_same_end
    from pilotfish.offline.scene import build_scene

    old, new = (_Side(world, build_scene(world)) for world in (before, after))
    for each in asked:
        was, will = old.explain(each), new.explain(each)
        if (was is None) is not (will is None) or (was and will and not is_same_end(was.trace, will.trace)):
            yield ChangedWay(each, was, will)


class _Side:
    def __init__(self, world: World, scene: Scene) -> None:
        self._world = world
        self._scene = scene

    def explain(self, asked: Asked) -> Told | None:
        """None: who asks is not there."""
        from pilotfish.explain.document import build_document
        from pilotfish.explain.report import build_report
        from pilotfish.explain.walk import explain
        from pilotfish.offline.owners import find_owners, locate_in

        name, client = OUTSIDE, None
        if asked.source != OUTSIDE:
            pods = self._world.find_pods(asked.source, asked.namespace)
            if not pods:
                return None
            name, client = pods[0], self._scene.stations[pods[0]]
        trace = explain(self._scene, client, asked.ask)
        told = (name, asked.ask, trace, find_owners(self._world, trace, locate_in(self._world)))
        return Told(trace, build_report(*told), build_document(*told))
