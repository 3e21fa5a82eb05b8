"""What the other replicas know: who leads asks each of them.

EndpointSlices of discovery's Service ─addresses─▶ GET /api/replica ─▶ Report
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pilotfish.config.kubernetes import EndpointSlice
from pilotfish.config.manifest import Manifest
from pilotfish.model.kinds import ENDPOINT_SLICE
from pilotfish.model.wellknown import MONITORING_PORT_NAME, SERVICE_OF_SLICE
from pilotfish.runtime.control.views import ReplicaView
from pilotfish.runtime.discovery.verdicts import Report
from pilotfish.runtime.http.loop import ask
from pilotfish.runtime.http.message import Request

_log = logging.getLogger(__name__)
_EVERY: Final = 5.0
"""Seconds."""
_TIMEOUT: Final = 2.0
_MOST: Final = 4 << 20
"""Bytes of an answer."""
_PATIENCE: Final = 6
"""How many times in a row one may not answer until what it said before is forgotten."""
Place = tuple[str, int]
"""Address and port."""


@dataclass(slots=True)
class _Peer:
    view: ReplicaView
    missed: int = 0


class Peers:
    def __init__(self, places: Callable[[], Iterable[Place]], me: str, moved: Callable[[], None]) -> None:
        """`places`: of all replicas. `me`: the name of this one, which needs not be asked. `moved` is called when
        somebody says something else."""
        self._places = places
        self._me = me
        self._moved = moved
        self._known: dict[Place, _Peer] = {}

    def reports(self) -> tuple[Report, ...]:
        return tuple(_report(each.view) for each in self._known.values() if each.view.name != self._me)

    def controllers(self) -> frozenset[str] | None:
        """Which processes they are, as the entries of workloads name them; None where not all have said."""
        if any(place not in self._known for place in self._places()):
            return None
        return frozenset(each.view.controller for each in self._known.values())

    async def refresh(self) -> None:
        """Ask each of them once."""
        places = tuple(self._places())
        before = {place: each.view for place, each in self._known.items()}
        self._known = {place: each for place, each in self._known.items() if place in places}
        await asyncio.gather(*map(self._ask, places))
        if before != {place: each.view for place, each in self._known.items()}:
            self._moved()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_EVERY)
            await self.refresh()

    async def _ask(self, place: Place) -> None:
        family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
        try:
            answer = await ask(socket.socket(family), place, Request("GET", "/api/replica"), _TIMEOUT, _MOST)
            self._known[place] = _Peer(answer.read(ReplicaView))
        except (OSError, ValueError) as error:
            _log.debug("the replica at %s does not say what it knows: %s", place[0], error)
            known = self._known.get(place)
            if known is not None:
                known.missed += 1
                if known.missed > _PATIENCE:
                    del self._known[place]


def places_of(manifests: Iterable[Manifest], namespace: str, service: str) -> Iterator[Place]:
    """Where the ready endpoints of discovery's Service have their monitoring port."""
    for manifest in manifests:
        resource = manifest.resource
        if manifest.ref.kind is not ENDPOINT_SLICE or manifest.ref.namespace != namespace:
            continue
        if not isinstance(resource, EndpointSlice) or resource.metadata.labels.get(SERVICE_OF_SLICE) != service:
            continue
        for port in (each.port for each in resource.ports if each.name == MONITORING_PORT_NAME):
            for endpoint in resource.endpoints:
                if endpoint.conditions.ready is not False and endpoint.addresses:
                    yield endpoint.addresses[0], port


def _report(view: ReplicaView) -> Report:
    refused = tuple((each.problem, frozenset(each.proxies)) for each in view.refused)
    return Report(refused, frozenset(each.ref for each in view.unsettled))
