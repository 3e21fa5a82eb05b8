"""A discovery in this process, and a proxy that speaks delta ADS to it over a real connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from envoy.service.discovery.v3 import discovery_pb2

from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from pilotfish.runtime.discovery.address import Address
from pilotfish.runtime.discovery.serve import DiscoveryServer, Options

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
ANYWHERE = Address("127.0.0.1", 0)
WEB = "sidecar~10.0.0.1~web-0.vm~vm.svc.cluster.local"


@asynccontextmanager
async def discovery(
    *paths: Path,
    at: Address = ANYWHERE,
    mesh_config: Path | None = None,
    state: Path | None = None,
    only_pods: bool = False,
    **more: Any,
) -> AsyncIterator[DiscoveryServer]:
    """It listens on free ports of the loopback, or there. `more` are further options."""
    options = Options(paths, at, at, mesh_config, state=state, only_pods=only_pods, **more)
    async with DiscoveryServer(options) as made:
        running = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


@dataclass
class Client:
    """Acknowledges all but what `refuses` says, and subscribes to endpoints and routes as it learns of them."""

    has: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {t: {} for t in (CLUSTER, ENDPOINT, LISTENER, ROUTE)}
    )
    refuses: bytes | None = None
    """Resources with these bytes in them are refused."""
    received: int = 0
    """Responses."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Of the node."""
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    _call: Any = None

    async def run(self, address: Address, node_id: str = WEB, channel: grpc.aio.Channel | None = None) -> None:
        """Until it is cancelled. grpc.aio.AioRpcError when discovery ends the stream."""
        async with channel or grpc.aio.insecure_channel(str(address)) as channel:
            self._call = channel.stream_stream(METHOD + "DeltaAggregatedResources")()
            for type_url in (CLUSTER, LISTENER):
                await self._ask(type_url, node_id)
            for type_url in (ENDPOINT, ROUTE):
                if self.has[type_url]:  # of an earlier stream: as Envoy, it asks for them again
                    await self._ask(type_url, node_id, list(self.has[type_url]))
            async for body in self._call:
                await self._take(discovery_pb2.DeltaDiscoveryResponse.FromString(body))

    def route(self) -> bytes:
        """The configuration of port 8000; b"" before it has any."""
        found = self.has[ROUTE].get("8000")
        return found.resource.value if found else b""

    async def until(self, what: str, condition: Any, seconds: float = 5.0) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self.moved.clear()
                    await self.moved.wait()
        except TimeoutError:
            raise AssertionError(f"not within {seconds:g} s: {what}; has {self.has}") from None

    async def _ask(self, type_url: str, node_id: str = "", names: list[str] | None = None) -> None:
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names or [])
        if node_id:
            request.node.id = node_id
            request.node.metadata.update(self.metadata)
            for name, resource in self.has[type_url].items():
                request.initial_resource_versions[name] = resource.version
        await self._call.write(request.SerializeToString())

    async def _take(self, response: discovery_pb2.DeltaDiscoveryResponse) -> None:
        self.received += 1
        answer = discovery_pb2.DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
        bad = self.refuses and any(self.refuses in r.resource.value for r in response.resources)
        if bad:
            answer.error_detail.message = "it is refused"
        else:
            self.has[response.type_url].update((r.name, r) for r in response.resources)
            for name in response.removed_resources:
                self.has[response.type_url].pop(name, None)
            await self._follow_up(response)
        await self._call.write(answer.SerializeToString())
        self.moved.set()

    async def _follow_up(self, response: discovery_pb2.DeltaDiscoveryResponse) -> None:
        names = [r.name for r in response.resources]
        if response.type_url == CLUSTER and names:
            await self._ask(ENDPOINT, names=[n for n in names if n.startswith("outbound|")])
        if response.type_url == LISTENER and names:
            await self._ask(ROUTE, names=["8000"])


@asynccontextmanager
async def connected(
    address: Address, client: Client | None = None, node_id: str = WEB, channel: grpc.aio.Channel | None = None
) -> AsyncIterator[Client]:
    client = client or Client()
    running = asyncio.create_task(client.run(address, node_id, channel))
    try:
        yield client
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def get(made: DiscoveryServer, path: str) -> tuple[int, Any]:
    """Status, and the JSON or text."""
    async with aiohttp.ClientSession() as http, http.get(f"http://{made.monitoring}{path}") as response:
        if response.content_type == "application/json":
            return response.status, await response.json()
        return response.status, await response.text()
