"""Capture in the pods and Services' addresses in the node: neither disturbs the other.

What capture takes arrives at the pod's own proxy, with the address that was meant; what it lets pass, and what the
proxy sends on to that address, is taken by the node to an endpoint, where the endpoint's capture takes it in turn.
"""

import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from pilotfish.capture import ALL, CaptureSpec, Mode
from pilotfish.model.frontend import Frontend, Frontends
from pilotfish.model.wellknown import INBOUND_PORT, OUTBOUND_PORT, PROXY_UID
from pilotfish.runtime import capture
from pilotfish.runtime.capture import PacketFilter
from pilotfish.runtime.net.services import ServiceNet
from tests.runtime.service_world import TCP_PORT, UDP_PORT, Pods, pods_of_a_mesh

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
SHOP, DB, DNS = "10.96.1.1", "10.96.1.2", "10.96.1.3"
SPEC = CaptureSpec(
    inbound_ports_include=ALL,
    inbound_ports_exclude=(15020, 15021, 15090),
    outbound_ip_ranges_include=ALL,
    outbound_ports_exclude=(15020, 3306),
    redirect_dns=True,
    capture_all_dns=True,
    enable_ipv6=True,
)
"""What a pod of a mesh has, and `excludeOutboundPorts: "3306"`."""


@pytest.fixture
async def pods() -> AsyncIterator[Pods]:
    async with pods_of_a_mesh("client", "server", "bare") as made:
        frontends = (
            Frontend("vm", "shop", "TCP", 80, (SHOP,), made.endpoints("server")),
            Frontend("vm", "db", "TCP", 3306, (DB,), made.endpoints("server")),
            Frontend("vm", "own", "TCP", 3306, (SHOP,), made.endpoints("client")),
            Frontend("vm", "dns", "UDP", 5353, (DNS,), made.endpoints("server", port=UDP_PORT)),
        )

        async def wanted() -> Frontends:
            return {frontend.name: frontend for frontend in frontends}

        net = ServiceNet(made.network, wanted, lambda: None)
        net.refresh()
        await net.wait()
        yield made
        await net.close()


@pytest.fixture(params=list(PacketFilter))
async def captured(pods: Pods, request: pytest.FixtureRequest) -> AsyncIterator[Pods]:
    """`client` and `server` are captured, by each of the kernel's packet filters; `bare` is not."""
    specs = dict.fromkeys(("client", "server"), SPEC)
    for name, spec in specs.items():
        await capture.apply(pods.namespaces[name], spec, backend=request.param)
    yield pods
    for name, spec in specs.items():
        assert await capture.verify(pods.namespaces[name], spec, backend=request.param) == ()


async def test_what_is_captured_keeps_the_address_that_was_meant(captured: Pods) -> None:
    arrival = captured.connect("client", SHOP, 80)
    assert (arrival.pod, arrival.port, arrival.meant) == ("client", OUTBOUND_PORT, (SHOP, 80))


async def test_what_is_excluded_is_served_by_the_node(captured: Pods) -> None:
    arrival = captured.connect("client", DB, 3306)
    assert (arrival.pod, arrival.port) == ("server", INBOUND_PORT)
    assert arrival.meant == (captured.addresses["server"], TCP_PORT)
    assert arrival.client == captured.addresses["client"]


async def test_what_the_proxy_sends_on_to_a_services_address_is_served_by_the_node(captured: Pods) -> None:
    arrival = captured.connect("client", SHOP, 80, uid=PROXY_UID)
    assert (arrival.pod, arrival.port) == ("server", INBOUND_PORT)
    assert arrival.client == captured.addresses["client"]


async def test_pods_without_a_sidecar_call_captured_ones(captured: Pods) -> None:
    arrival = captured.connect("bare", SHOP, 80)
    assert (arrival.pod, arrival.port, arrival.client) == ("server", INBOUND_PORT, captured.addresses["bare"])


async def test_a_captured_pod_calls_its_own_service_past_the_proxy(captured: Pods) -> None:
    arrival = captured.connect("client", SHOP, 3306)
    assert (arrival.pod, arrival.port, arrival.client) == ("client", INBOUND_PORT, captured.addresses["node"])


async def test_udp_is_served_by_the_node_whether_captured_or_not(captured: Pods) -> None:
    for client in ("client", "bare"):
        with captured.namespaces[client].socket(kind=socket.SOCK_DGRAM) as mine:
            assert captured.ask(mine, DNS, 5353).client == captured.addresses[client]


async def test_a_refusal_reaches_what_was_let_pass(captured: Pods) -> None:
    with pytest.raises(ConnectionRefusedError):
        captured.open("client", DB, 81, uid=PROXY_UID)


async def test_a_transparent_proxy_sees_who_called_the_service(pods: Pods) -> None:
    """TPROXY: marks and routes in the server's namespace, translation in the node's."""
    await capture.apply(pods.namespaces["server"], replace(SPEC, mode=Mode.TPROXY))
    arrival = pods.connect("bare", SHOP, 80)
    assert (arrival.pod, arrival.port, arrival.client) == ("server", INBOUND_PORT, pods.addresses["bare"])
    assert arrival.meant == (pods.addresses["server"], TCP_PORT)
