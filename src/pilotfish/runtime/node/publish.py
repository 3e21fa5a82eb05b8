"""Services on ports of the host: a TCP connection to one goes on to a ready pod, each pod in its turn."""

from __future__ import annotations

import asyncio
import errno
import itertools
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress

from pilotfish.config.kubernetes import Service
from pilotfish.model import Problem, Severity
from pilotfish.model.kinds import SERVICE
from pilotfish.node.endpoints import Backend, endpoints, find_port
from pilotfish.node.publish import Publish
from pilotfish.node.store import Store
from pilotfish.runtime.node.options import CannotStart

Endpoints = Callable[[Publish], tuple[tuple[str, int], ...]]
_PIECE = 65536


class Port:
    """One of the host's, taken at once: that it can't be had is known before anything is built."""

    def __init__(self, publish: Publish) -> None:
        """Raises CannotStart if the port is taken, or the address is not the machine's."""
        self.publish = publish
        self.socket = socket.socket(socket.AF_INET6 if ":" in publish.address else socket.AF_INET)
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind((publish.address, publish.port))
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
    """A Service behind a port of the host."""

    def __init__(self, port: Port, endpoints: Endpoints) -> None:
        self.publish = port.publish
        self.address = port.address
        self.port = port
        self._endpoints = endpoints
        self._turn = itertools.count()
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._starting = asyncio.Lock()
        """Whoever closes it while it starts closes what has started."""

    async def start(self) -> None:
        async with self._starting:
            if self.port.is_closed:
                return
            self._server = await asyncio.start_server(self._accept, sock=self.port.socket)

    async def close(self) -> None:
        async with self._starting:
            if self._server is None:
                self.port.close()
                return
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)
        upstream = None
        try:
            upstream = await self._connect()
            if upstream is not None:
                await asyncio.gather(_pump(reader, upstream[1]), _pump(upstream[0], writer))
        except asyncio.CancelledError:
            writer.transport.abort()
        finally:
            writer.close()
            if upstream is not None:
                upstream[1].close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """To the next ready pod that takes the connection; None if none does."""
        endpoints = self._endpoints(self.publish)
        for _ in endpoints:
            host, port = endpoints[next(self._turn) % len(endpoints)]
            with suppress(OSError):
                return await asyncio.open_connection(host, port)
        return None


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the end of what comes; the other direction may go on."""
    try:
        while chunk := await reader.read(_PIECE):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()


def find_endpoints(publish: Publish, store: Store, backends: Iterable[Backend]) -> tuple[tuple[str, int], ...]:
    """Where a new connection goes: (address, port) of each ready pod."""
    service = find_service(publish, store)
    port = find_port(service, publish.service_port) if service else None
    return endpoints(service, publish.namespace, backends, port) if service and port else ()


def find_problem(published: Published, store: Store) -> Problem | None:
    """A port of the host that leads nowhere, for want of the Service or of its port."""
    publish = published.publish
    service = find_service(publish, store)
    if service and find_port(service, publish.service_port):
        return None
    lack = f"has no port {publish.service_port}" if service else "does not exist"
    message = f"connections to {published.address} are closed at once: the Service {lack}; add it, or change --publish"
    ref = SERVICE.ref(publish.namespace, publish.service)
    return Problem(ref, "", "PublishedNothing", message, Severity.WARNING)


def find_service(publish: Publish, store: Store) -> Service | None:
    stored = store.objects.get(SERVICE.ref(publish.namespace, publish.service))
    resource = stored.manifest.resource if stored else None
    return resource if isinstance(resource, Service) else None


def _refusal(publish: Publish, error: OSError) -> CannotStart:
    where = publish.listening()
    if error.errno == errno.EADDRINUSE:
        return CannotStart(
            f"port {publish.port} of {publish.address} is taken, so {publish.target} can't be published there; "
            f"choose another: --publish PORT:{publish.target} (who has it: ss -lntp 'sport = :{publish.port}')"
        )
    return CannotStart(f"{publish.target} can't be published on {where}: {error.strerror}; choose another address")
