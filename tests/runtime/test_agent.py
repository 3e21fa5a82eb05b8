"""Agents with a real Envoy, each in a namespace of its own, and a discovery of a few lines."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401  (Any needs its type)
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from google.protobuf.json_format import ParseDict

from pilotfish.agent.identity import build_proxy
from pilotfish.config.mesh import ProxyConfig
from pilotfish.runtime.agent import Agent, AgentError, AgentSpec, AgentStatus, Shared
from pilotfish.runtime.command import run
from pilotfish.runtime.netns import NetNs

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.timeout(30),
]

CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
APP = 8080


@pytest.fixture
async def netns() -> AsyncIterator[NetNs]:
    namespace = NetNs.create(f"pf-test-agent-{uuid4().hex[:8]}")
    try:
        await run(["ip", "link", "set", "lo", "up"], netns=namespace)
        yield namespace
    finally:
        left = namespace.pids()
        namespace.delete()
        assert left == (), "a process was left in the namespace"


def cluster() -> Cluster:
    endpoint = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": APP}}}}
    assignment = {"cluster_name": "app", "endpoints": [{"lb_endpoints": [endpoint]}]}
    return ParseDict({"name": "app", "connect_timeout": "1s", "load_assignment": assignment}, Cluster())


def listener(name: str, port: int, direction: str, kind: str) -> Listener:
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
    address = {"socket_address": {"address": "0.0.0.0", "port_value": port}}
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


@pytest.fixture
async def discovery(netns: NetNs) -> AsyncIterator[Discovery]:
    async with discovery_in(netns) as discovery:
        yield discovery


@pytest.fixture
def spec(netns: NetNs, tmp_path: Path) -> AgentSpec:
    return AgentSpec(
        proxy=build_proxy("webapp-0", "vm", ("127.0.0.1",), "", {"app": "webapp"}),
        netns=netns,
        directory=tmp_path / "webapp",
        discovery="127.0.0.1:15010",
        monitoring="",
        log=tmp_path / "istio-proxy.log",
        proxy_config=ProxyConfig(concurrency=1),
    )


@asynccontextmanager
async def running(spec: AgentSpec, on_change: Callable[[Agent], None] | None = None) -> AsyncIterator[Agent]:
    async with Shared() as shared:
        agent = Agent(spec, shared, on_change)
        await agent.start()
        try:
            yield agent
        finally:
            await agent.stop(now() + 2)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_ready_only_after_the_first_configuration(spec: AgentSpec, discovery: Discovery) -> None:
    discovery.answer.clear()
    async with running(spec) as agent:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(agent.wait_ready(), 0.5)
        assert "discovery has not sent clusters" in agent.status.message
        discovery.answer.set()
        began = now()
        await agent.wait_ready()
        print("ready after", now() - began)
        assert agent.status.state == "running"
        assert agent.status.revision == 0
        assert (spec.directory / "envoy-rev0.json").exists()


async def test_killed_envoy_is_back_within_a_second(spec: AgentSpec, discovery: Discovery) -> None:
    async with running(spec) as agent:
        await agent.wait_ready()
        first = agent.pid
        assert first is not None
        began = now()
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(1):
            while agent.pid == first or not agent.ready:
                await agent._changed.wait()
        print("back after", now() - began)
        assert agent.restarts == 1
        assert agent.status.exit_code == -signal.SIGKILL
