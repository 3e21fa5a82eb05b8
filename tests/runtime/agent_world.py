"""An agent's surroundings: a discovery of a few lines, and agents that are always stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401  (Any needs its type)
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from google.protobuf.json_format import ParseDict

from pilotfish.runtime.agent import Agent, AgentHost, AgentSpec, AgentStatus
from pilotfish.runtime.linux.netns import NetNs

CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
APP = 8080


def cluster() -> Cluster:
    endpoint = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": APP}}}}
    assignment = {"cluster_name": "app", "endpoints": [{"lb_endpoints": [endpoint]}]}
    return ParseDict({"name": "app", "connect_timeout": "1s", "load_assignment": assignment}, Cluster())


def listener(name: str, port: int, direction: str, kind: str, netns: NetNs | None = None) -> Listener:
    """`netns`: where it listens, if not where its Envoy is."""
    types = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": f"{kind}_0.0.0.0_{port};",
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{types}.http.router.v3.Router"}}
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "0s"}}],
                }
            ]
        },
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    where = {"network_namespace_filepath": str(netns.path)} if netns else {}
    address = {"socket_address": {"address": "0.0.0.0", "port_value": port, **where}}
    return ParseDict(
        {"name": name, "address": address, "traffic_direction": direction, "filter_chains": [chain]}, Listener()
    )


class Discovery:
    """Answers each wildcard subscription with the same few resources, once `answer` is set."""

    def __init__(self) -> None:
        self.answer = asyncio.Event()
        self.answer.set()
        self.resources: dict[str, list[Any]] = {
            CLUSTER: [cluster()],
            LISTENER: [
                listener("virtualOutbound", 15001, "OUTBOUND", "outbound"),
                listener("virtualInbound", 15006, "INBOUND", "inbound"),
            ],
        }

    async def stream(self, requests: AsyncIterator[bytes], _context: Any) -> AsyncIterator[bytes]:
        async for body in requests:
            request = DeltaDiscoveryRequest.FromString(body)
            if request.response_nonce:
                continue
            await self.answer.wait()
            response = DeltaDiscoveryResponse(type_url=request.type_url, nonce="1", system_version_info="1")
            for resource in self.resources.get(request.type_url, []):
                response.resources.add(name=resource.name, version="1").resource.Pack(resource)
            yield response.SerializeToString()


@asynccontextmanager
async def discovery_in(netns: NetNs, port: int = 15010) -> AsyncIterator[Discovery]:
    discovery = Discovery()
    server = grpc.aio.server()
    handlers = {"DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(discovery.stream)}
    service = "envoy.service.discovery.v3.AggregatedDiscoveryService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    with netns.entered():
        server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield discovery
    finally:
        await server.stop(None)


@asynccontextmanager
async def running(spec: AgentSpec, on_change: Callable[[Agent], None] | None = None) -> AsyncIterator[Agent]:
    async with AgentHost() as host:
        agent = Agent(spec, host, on_change)
        await agent.start()
        try:
            yield agent
        finally:
            await agent.stop(now() + 2)


def now() -> float:
    return asyncio.get_running_loop().time()


async def changed(agent: Agent, predicate: Callable[[AgentStatus], bool], within: float = 10) -> AgentStatus:
    """The agent's status, as soon as the predicate holds for it."""
    async with asyncio.timeout(within):
        await agent.until(lambda: predicate(agent.status))
    return agent.status
