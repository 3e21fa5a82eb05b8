"""Ports of the host that lead into the mesh: each is taken at once, and served from the start until it is closed.

Publish ─Port─▶ a socket of the host ─Published─▶ a relay, TCP or UDP ─Resolve─▶ endpoints, asked for each time
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable, Mapping
from functools import partial

from pilotfish.config.kubernetes import Service
from pilotfish.model import Kind, Problem, Severity
from pilotfish.model.frontend import Frontend
from pilotfish.model.kinds import POD, SERVICE
from pilotfish.node.endpoints import Backend, endpoints, find_container_port, find_port
from pilotfish.node.publish import Endpoints, Publish, Resolve
from pilotfish.node.store import Store
from pilotfish.runtime.agent.sockets import family_of
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.node.datagrams import DatagramRelay
from pilotfish.runtime.node.options import CannotStart
from pilotfish.runtime.node.streams import StreamRelay


class Port:
    """One of the host's, taken at once: that it can't be had is known before anything is built."""

    def __init__(self, publish: Publish, netns: NetNs | None = None) -> None:
        """`netns`: where it is; None is this process's own. Raises CannotStart if the port is taken, or the address is
        not the machine's."""
        self.publish = publish
        family, is_stream = family_of(publish.address), publish.protocol == "TCP"
        kind = socket.SOCK_STREAM if is_stream else socket.SOCK_DGRAM
        self.socket = socket.socket(family, kind) if netns is None else netns.socket(family, kind)
        try:
            if is_stream:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind((publish.address, publish.port))
            if is_stream:
                self.socket.listen(128)
        except OSError as error:
            self.socket.close()
            raise _refusal(publish, error) from error
        self.number: int = self.socket.getsockname()[1]
        self.address = publish.listening(self.number)
        """`127.0.0.1:8080`."""

    @property
    def is_closed(self) -> bool:
        return self.socket.fileno() < 0

    def close(self) -> None:
        self.socket.close()


class Published:
    """What is behind a port of the host."""

    def __init__(self, port: Port, resolve: Resolve, netns: NetNs | None = None, in_turn: bool = True) -> None:
        """`netns`: where the endpoints are called from; None is this process's own. `in_turn`: each endpoint is, else
        the first that is there."""
        self.publish = port.publish
        self.address = port.address
        self.port = port
        relay = StreamRelay if port.publish.protocol == "TCP" else DatagramRelay
        self._relay = relay(port.socket, partial(resolve, port.publish), netns, in_turn)
        self._starting = asyncio.Lock()
        """Whoever closes it while it starts closes what has started."""

    async def start(self) -> None:
        async with self._starting:
            if not self.port.is_closed:
                await self._relay.start()

    async def close(self) -> None:
        async with self._starting:
            await self._relay.close()
            self.port.close()


def find_endpoints(
    publish: Publish, store: Store, backends: Iterable[Backend], frontends: Mapping[str, Frontend]
) -> Endpoints:
    """Where a new connection goes: (address, port) of each ready pod, or of the pod that was named."""
    if publish.is_pod:
        pods = (pod for pod in backends if (pod.namespace, pod.name) == (publish.namespace, publish.name))
        return tuple((pod.address, number) for pod in pods if (number := _port_of(publish, pod)) is not None)
    service = find_service(publish, store)
    port = find_port(service, publish.target_port, publish.protocol) if service else None
    if service is None or port is None:
        return ()
    if service.spec.selector:
        return endpoints(service, publish.namespace, backends, port)
    # Its endpoints are objects of their own, which the kernel's facts have.
    name = f"{publish.namespace}/{publish.name}/{publish.protocol.lower()}/{port.port}"
    return frontends[name].endpoints if name in frontends else ()


def find_problem(publish: Publish, store: Store, backends: Iterable[Backend]) -> Problem | None:
    """A port of the host that leads nowhere, for want of the Service or pod, or of its port."""
    kind, lack = _find_lack(publish, store, backends)
    if not lack:
        return None
    what = f"connections to {publish.listening()} are closed at once: {lack}; add it, or publish another"
    return Problem(kind.ref(publish.namespace, publish.name), "", "PublishedNothing", what, Severity.WARNING)


def find_service(publish: Publish, store: Store) -> Service | None:
    stored = store.objects.get(SERVICE.ref(publish.namespace, publish.name))
    resource = stored.manifest.resource if stored and not publish.is_pod else None
    return resource if isinstance(resource, Service) else None


def _find_lack(publish: Publish, store: Store, backends: Iterable[Backend]) -> tuple[Kind, str]:
    if publish.is_pod:
        pods = [pod for pod in backends if (pod.namespace, pod.name) == (publish.namespace, publish.name)]
        if not pods:
            return POD, "the pod does not exist"
        lacks = all(_port_of(publish, pod) is None for pod in pods)
        return POD, f"the pod has no port {publish.target_port}" if lacks else ""
    service = find_service(publish, store)
    if service is None:
        return SERVICE, "the Service does not exist"
    if find_port(service, publish.target_port, publish.protocol) is None:
        kind = "" if publish.protocol == "TCP" else f" for {publish.protocol}"
        return SERVICE, f"the Service has no port {publish.target_port}{kind}"
    return SERVICE, ""


def _port_of(publish: Publish, pod: Backend) -> int | None:
    if publish.target_port.isdecimal():
        return int(publish.target_port)
    return find_container_port(pod.spec, publish.target_port, publish.protocol)


def _refusal(publish: Publish, error: OSError) -> CannotStart:
    where = publish.listening()
    if error.errno == errno.EADDRINUSE:
        option = "-lntp" if publish.protocol == "TCP" else "-lnup"
        return CannotStart(
            f"port {publish.port} of {publish.address} is taken, so {publish.target} can't be published there; "
            f"choose another: PORT:{publish.target} (who has it: ss {option} 'sport = :{publish.port}')"
        )
    return CannotStart(f"{publish.target} can't be published on {where}: {error.strerror}; choose another address")
