"""Whose the steps of a request's way are: asked by who explains it, as the mesh's objects and what follows from them
are known here already.

POST /api/owners, of a Trace by `explain.wire`        [OwnerView, ...], or 400
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

from aiohttp import web

from pilotfish.config.desired import DesiredState
from pilotfish.discovery.mesh import Mesh
from pilotfish.discovery.plane import ControlPlane
from pilotfish.envoy.machine.resources import pods_of
from pilotfish.model import ObjectRef, Proxy
from pilotfish.model.proxy import ProxyType
from pilotfish.runtime.control.views import OwnerView
from pilotfish.runtime.discovery.pages import Handler, answer


@dataclass(frozen=True, slots=True)
class Served:
    """What `offline.owners` asks, of the proxies that are connected, and of the pods that a machine's serves."""

    mesh: Mesh
    proxies: Mapping[str, Proxy]

    @classmethod
    def by(cls, plane: ControlPlane) -> Served:
        connected = (session.proxy for session in plane.roster.sessions.values())
        served = (each for proxy in connected for each in _served(plane.mesh, proxy))
        return cls(plane.mesh, {str(proxy): proxy for proxy in served})

    @property
    def desired(self) -> DesiredState:
        return self.mesh.desired

    @property
    def workloads(self) -> Mapping[str, ObjectRef]:
        """None: discovery is told of pods, and the node, which made them, says of what."""
        return {}


def _served(mesh: Mesh, proxy: Proxy) -> tuple[Proxy, ...]:
    return pods_of(mesh.graph, proxy) if proxy.type is ProxyType.NODE else (proxy,)


def owners_page(plane: ControlPlane) -> Handler:
    async def tell(request: web.Request) -> web.Response:
        body = await request.read()
        # Most meshes are never asked, and what it takes is 3 MB and a tenth of a second.
        await asyncio.to_thread(import_module, "pilotfish.offline.owners")
        try:
            return answer(find(Served.by(plane), body))
        except ValueError as error:
            raise web.HTTPBadRequest(text=f"give the way of a request: {error}\n") from error

    return tell


def find(served: Served, body: bytes) -> tuple[OwnerView, ...]:
    """Raises ValueError for a body that is no Trace."""
    from pilotfish.explain.wire import decode
    from pilotfish.offline.owners import find_fields

    found = find_fields(served, decode(body))
    return tuple(OwnerView.of(step, field) for step, field in found.items())
