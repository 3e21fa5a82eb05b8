"""A cluster's source as discovery has it, followed by a test; and a way to the API server that can be struck."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pilotfish.cluster.kubeconfig import Access
from pilotfish.config.desired import DesiredState, update
from pilotfish.config.kubernetes import Resource
from pilotfish.model import ObjectRef
from pilotfish.model.kind import Kind
from pilotfish.runtime.cluster.access import find_access
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.source.cluster import Cluster
from pilotfish.runtime.streams import StreamServer
from tests.waiting import until

Object = dict[str, Any]


class Followed:
    def __init__(self, source: Cluster) -> None:
        self.source = source
        self.state = DesiredState()
        self.batches = 0
        self.is_synced = asyncio.Event()
        """The first batch is here."""

    async def run(self) -> None:
        while True:
            batch = await self.source.next()
            self.state = update(self.state, batch.news)
            self.batches += 1
            self.is_synced.set()

    def names(self, kind: Kind, namespace: str) -> set[str]:
        return {ref.name for ref in self.state.manifests if (ref.kind, ref.namespace) == (kind, namespace)}

    def resource(self, ref: ObjectRef) -> Resource | None:
        found = self.state.manifests.get(ref)
        return found.resource if found is not None else None

    async def until(self, what: str, holds: Callable[[], Any], within: float = 10.0) -> Any:
        return await until(what, holds, within)


@asynccontextmanager
async def following(access: Access, **options: Any) -> AsyncIterator[Followed]:
    found = Followed(Cluster(access, **options))
    task = asyncio.create_task(found.run())
    try:
        yield found
    finally:
        found.source.close()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def asking(kubeconfig: Path) -> AsyncIterator[Api]:
    """The API server, as a user's tools reach it: past whatever strikes the source."""
    async with Api(find_access(kubeconfig), "tests") as api:
        yield api


class Way:
    """A way to the API server, byte by byte."""

    def __init__(self, access: Access) -> None:
        self._there = urlsplit(access.server.url)
        self._access = access
        self._open: set[asyncio.StreamWriter] = set()
        self._left: int | None = None
        """Bytes that still come from the API server before all is cut; None: any."""
        self._is_closed = False
        self._passes = asyncio.Event()
        self._passes.set()
        self.access = access

    async def __aenter__(self) -> Way:
        bound = socket.create_server(("127.0.0.1", 0))
        self._server = StreamServer(self._lead)
        await self._server.start(bound)
        port = bound.getsockname()[1]
        server = replace(self._access.server, url=f"https://127.0.0.1:{port}")
        self.access = replace(self._access, server=server)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.close()

    def cut(self) -> None:
        """What is open now."""
        for writer in tuple(self._open):
            writer.transport.abort()

    def cut_after(self, count: int) -> None:
        """As soon as so many bytes more have come from the API server: in the middle of whatever they are."""
        self._left = count

    def close(self) -> None:
        """Nobody passes any more."""
        self._is_closed = True
        self.cut()

    def open(self) -> None:
        self._is_closed = False
        self._passes.set()

    def swallow(self) -> None:
        """Nothing comes any more, and nothing says so."""
        self._passes.clear()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_closed or not self._passes.is_set():
            writer.transport.abort()
            return
        there_reader, there_writer = await asyncio.open_connection(self._there.hostname, self._there.port)
        self._open |= {writer, there_writer}
        try:
            await asyncio.gather(
                self._pump(reader, there_writer, is_answer=False), self._pump(there_reader, writer, is_answer=True)
            )
        finally:
            self._open -= {writer, there_writer}
            there_writer.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_answer: bool) -> None:
        with suppress(OSError):
            while data := await reader.read(4096):
                await self._passes.wait()
                if is_answer and self._left is not None:
                    data, self._left = data[: self._left], self._left - len(data[: self._left])
                writer.write(data)
                await writer.drain()
                if self._left == 0:
                    self._left = None
                    await asyncio.sleep(0.01)
                    self.cut()
        writer.transport.abort()
