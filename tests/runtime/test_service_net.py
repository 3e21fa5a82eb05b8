"""Services' addresses for real: pods of a mesh's network call them, and what arrives where is seen."""

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from pilotfish.model.frontend import Frontend, Frontends
from pilotfish.runtime.linux.command import run
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.net.network import MeshNetwork
from pilotfish.runtime.net.services import ServiceNet
from pilotfish.servicenet import TABLE, render_all
from tests.runtime.service_world import UDP_PORT, Pods, pods_of_a_mesh

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
SERVICE, OTHER, EXTERNAL = "10.96.1.1", "10.96.1.2", "203.0.113.9"


@pytest.fixture
async def pods() -> AsyncIterator[Pods]:
    async with pods_of_a_mesh("client", "one", "two") as made:
        yield made


class Net:
    """The kernel's rules, and what they are to be."""

    def __init__(self, network: MeshNetwork) -> None:
        self.wanted: Frontends = {}
        self.rules = ServiceNet(network, self._frontends, lambda: None)

    async def _frontends(self) -> Frontends:
        return self.wanted

    async def want(self, frontends: Frontends) -> str:
        """Why that can't be; "" if it is in force."""
        self.wanted = frontends
        self.rules.refresh()
        await self.rules.wait()
        return self.rules.failure


@pytest.fixture
async def net(pods: Pods) -> AsyncIterator[Net]:
    made = Net(pods.network)
    yield made
    await made.rules.close()
    assert made.rules.failure == ""


def shop(*endpoints: tuple[str, int], name: str = "shop", **fields: Any) -> Frontend:
    made = Frontend("vm", name, "TCP", 80, (SERVICE,), endpoints)
    return replace(made, **fields)


def dns(*endpoints: tuple[str, int]) -> Frontend:
    return Frontend("vm", "dns", "UDP", 53, (SERVICE,), endpoints)


async def serve(net: Net, *frontends: Frontend) -> None:
    assert await net.want({frontend.name: frontend for frontend in frontends}) == ""


def refused(pods: Pods, client: str, address: str, port: int) -> bool:
    """False if there is no route."""
    with pytest.raises(OSError, match=r"refused|unreachable|No route") as failure:
        pods.open(client, address, port)
    return isinstance(failure.value, ConnectionRefusedError)


async def test_a_service_is_served_by_its_endpoints_and_sees_its_client(pods: Pods, net: Net) -> None:
    await serve(net, shop(*pods.endpoints("one", "two")))
    seen = [pods.connect("client", SERVICE) for _ in range(60)]
    assert {arrival.client for arrival in seen} == {pods.addresses["client"]}
    # One of 2 * 2**-60 runs would find one endpoint alone.
    assert {arrival.pod for arrival in seen} == {"one", "two"}


async def test_each_endpoint_gets_its_share(pods: Pods, net: Net) -> None:
    await pods.add("three")
    await serve(net, shop(*pods.endpoints("one", "two", "three")))
    counts = pods.spread(600, lambda: pods.connect("client", SERVICE))
    # 200 each; six standard deviations are 69.
    assert set(counts) == {"one", "two", "three"}
    assert all(abs(count - 200) < 70 for count in counts.values()), counts


async def test_the_node_itself_may_call(pods: Pods, net: Net) -> None:
    await serve(net, shop(*pods.endpoints("one")), dns(*pods.endpoints("two", port=UDP_PORT)))
    assert pods.connect("node", SERVICE).pod == "one"
    with pods.network.node.socket(kind=socket.SOCK_DGRAM) as mine:
        assert pods.ask(mine, SERVICE).pod == "two"


async def test_a_pod_calls_its_own_service(pods: Pods, net: Net) -> None:
    """And is called then by the node: an answer to its own address would never leave it."""
    await serve(net, shop(*pods.endpoints("client", "one")), dns(*pods.endpoints("client", port=UDP_PORT)))
    seen = [pods.connect("client", SERVICE) for _ in range(60)]
    pairs = {("client", pods.addresses["node"]), ("one", pods.addresses["client"])}
    assert {(arrival.pod, arrival.client) for arrival in seen} == pairs
    with pods.namespaces["client"].socket(kind=socket.SOCK_DGRAM) as mine:
        assert pods.ask(mine, SERVICE).client == pods.addresses["node"]


async def test_an_endpoint_on_the_host_is_reached(pods: Pods, net: Net) -> None:
    """And called by the node: the host would answer pods past it, with an address that nobody called."""
    host = str(pods.network.subnets.host[0])
    with socket.create_server((host, 0)) as server:
        await serve(net, shop((host, server.getsockname()[1])))
        with pods.namespaces["client"].socket() as mine:
            mine.settimeout(2)
            mine.connect((SERVICE, 80))
            accepted, (seen, _) = server.accept()
            with accepted:
                accepted.sendall(b"hello")
                assert (mine.recv(16), seen) == (b"hello", pods.addresses["node"])


async def test_external_ips_lead_to_the_same_endpoints(pods: Pods, net: Net) -> None:
    await serve(net, shop(*pods.endpoints("one"), addresses=(SERVICE, EXTERNAL)))
    assert pods.connect("client", EXTERNAL).client == pods.addresses["client"]
    await serve(net, shop(*pods.endpoints("one")))
    assert not refused(pods, "client", EXTERNAL, 80), "it is nobody's then: no route"


async def test_what_has_no_endpoint_is_refused_at_once_and_each_time(pods: Pods, net: Net) -> None:
    """More often than ICMP errors are sent (icmp_ratelimit)."""
    await serve(net, shop(addresses=(SERVICE, EXTERNAL)), dns())
    loop = asyncio.get_running_loop()
    began = loop.time()
    for address in (SERVICE, EXTERNAL) * 20:
        assert refused(pods, "client", address, 80)
        assert refused(pods, "node", SERVICE, 80)
    assert loop.time() - began < 1
    with pods.namespaces["client"].socket(kind=socket.SOCK_DGRAM) as mine:
        mine.settimeout(2)
        mine.connect((SERVICE, 53))
        mine.send(b"ping")
        with pytest.raises(ConnectionRefusedError):
            mine.recv(16)


async def test_a_port_that_the_service_lacks_is_refused(pods: Pods, net: Net) -> None:
    await serve(net, shop(*pods.endpoints("one")))
    assert refused(pods, "client", SERVICE, 81)
    assert refused(pods, "node", SERVICE, 81)


async def test_endpoints_come_and_go(pods: Pods, net: Net) -> None:
    await serve(net, shop(*pods.endpoints("one")))
    assert pods.connect("client", SERVICE).pod == "one"
    await serve(net, shop(*pods.endpoints("two")))
    assert pods.connect("client", SERVICE).pod == "two"
    await serve(net, shop())
    assert refused(pods, "client", SERVICE, 80)
    await serve(net, shop(*pods.endpoints("one")), shop(*pods.endpoints("two"), name="more", addresses=(OTHER,)))
    assert (pods.connect("client", SERVICE).pod, pods.connect("client", OTHER).pod) == ("one", "two")
    await serve(net)
    assert not refused(pods, "client", SERVICE, 80), "it is nobody's then: no route"


async def test_a_connection_outlives_its_endpoints_removal(pods: Pods, net: Net) -> None:
    """It is being drained; only new ones go elsewhere."""
    await serve(net, shop(*pods.endpoints("one")))
    mine, accepted, _ = pods.open("client", SERVICE)
    with mine, accepted:
        await serve(net, shop(*pods.endpoints("two")))
        await serve(net, shop())
        await serve(net)
        mine.sendall(b"still")
        assert accepted.recv(16) == b"still"
        accepted.sendall(b"here")
        assert mine.recv(16) == b"here"


async def test_udp_flows_leave_an_endpoint_that_went_and_stay_with_one_that_did_not(pods: Pods, net: Net) -> None:
    await serve(net, dns(*pods.endpoints("one", "two", port=UDP_PORT)))
    with contextlib.ExitStack() as stack:
        flows = [stack.enter_context(pods.namespaces["client"].socket(kind=socket.SOCK_DGRAM)) for _ in range(40)]
        first = [pods.ask(mine, SERVICE).pod for mine in flows]
        assert set(first) == {"one", "two"}
        assert [pods.ask(mine, SERVICE).pod for mine in flows] == first, "a flow keeps its endpoint"
        await pods.add("three")
        await serve(net, dns(*pods.endpoints("two", "three", port=UDP_PORT)))
        second = [pods.ask(mine, SERVICE).pod for mine in flows]
        assert all(now == before for before, now in zip(first, second, strict=True) if before == "two")
        assert {now for before, now in zip(first, second, strict=True) if before == "one"} == {"two", "three"}


async def test_a_client_with_affinity_keeps_its_endpoint(pods: Pods, net: Net) -> None:
    sticky = shop(*pods.endpoints("one", "two"), affinity=60)
    await serve(net, sticky)
    kept = pods.connect("client", SERVICE).pod
    assert pods.spread(30, lambda: pods.connect("client", SERVICE)) == {kept: 30}
    await pods.add("three")
    await serve(net, replace(sticky, endpoints=pods.endpoints("one", "two", "three")))
    assert pods.spread(30, lambda: pods.connect("client", SERVICE)) == {kept: 30}, "though another one came"
    others = tuple(name for name in ("one", "two", "three") if name != kept)
    await serve(net, replace(sticky, endpoints=pods.endpoints(*others)))
    moved = pods.connect("client", SERVICE).pod
    assert moved in others
    assert pods.spread(30, lambda: pods.connect("client", SERVICE)) == {moved: 30}


async def test_affinity_ends_with_its_time(pods: Pods, net: Net) -> None:
    """Counted from the last connection."""
    await serve(net, shop(*pods.endpoints("one", "two"), affinity=1))
    seen: set[str] = set()
    async with asyncio.timeout(30):
        while len(seen) < 2:
            seen.add(pods.connect("client", SERVICE).pod)
            await asyncio.sleep(1.1)  # the kernel's own clock: nothing tells when the client is forgotten


async def test_affinity_comes_and_goes_with_the_service(pods: Pods, net: Net) -> None:
    loose = shop(*pods.endpoints("one", "two"))
    for frontend in (
        loose,
        replace(loose, affinity=60),
        replace(loose, affinity=90),
        replace(loose, affinity=60),
        loose,
    ):
        await serve(net, frontend)
        expected = 1 if frontend.affinity else 2
        assert len(pods.spread(60, lambda: pods.connect("client", SERVICE))) == expected


async def test_changes_that_come_at_once_end_with_the_last(pods: Pods, net: Net) -> None:
    for name in ("one", "two") * 10:
        net.wanted = {"vm/shop/tcp/80": shop(*pods.endpoints(name))}
        net.rules.refresh()
        await asyncio.sleep(0)
    await net.rules.wait()
    assert pods.connect("client", SERVICE).pod == "two"


async def test_a_table_that_somebody_removed_comes_back_with_the_next_change(pods: Pods, net: Net) -> None:
    await serve(net, shop(*pods.endpoints("one")))
    await run(("nft", "flush", "ruleset"), netns=pods.network.node)
    assert not refused(pods, "client", SERVICE, 80)
    await serve(net, shop(*pods.endpoints("two")), shop(*pods.endpoints("one"), name="more", addresses=(OTHER,)))
    assert (pods.connect("client", SERVICE).pod, pods.connect("client", OTHER).pod) == ("two", "one")


async def test_what_the_kernel_refuses_is_said_and_mended_by_the_next_change(pods: Pods, net: Net) -> None:
    await serve(net, shop(*pods.endpoints("one")))
    assert pods.network.node.name in await net.want({"vm/shop/tcp/80": shop(("no address", 1))})
    assert pods.connect("client", SERVICE).pod == "one", "what was there before holds"
    await serve(net, shop(*pods.endpoints("two")))
    assert pods.connect("client", SERVICE).pod == "two"


async def test_steps_end_where_one_leap_would(pods: Pods, net: Net) -> None:
    """Whatever changes: what the kernel then has is what it has when all of it is loaded at once."""
    seed = int(os.environ.get("PILOTFISH_SEED", "0")) or random.randrange(1 << 32)
    rng = random.Random(seed)
    wanted: Frontends = {}
    for _ in range(25):
        wanted = _random_step(rng, wanted)
        assert await net.want(wanted) == "", f"PILOTFISH_SEED={seed}"
        stepped = await _listed(pods.network.node)
        whole = await run(
            ("nft", "-f", "-"),
            render_all(wanted, str(pods.network.subnets.host[0]), str(pods.network.subnets.machine)),
            pods.network.node,
        )
        assert whole.returncode == 0, whole.stderr
        assert await _listed(pods.network.node) == stepped, f"PILOTFISH_SEED={seed}"


def _random_step(rng: random.Random, before: Frontends) -> Frontends:
    """Few names, addresses and endpoints, so that they are often shared; most stay as they are, some come or go."""
    owner = rng.randrange(6)
    found = {}
    for service in range(6):
        for transport in ("TCP", "UDP"):
            addresses = (f"10.96.1.{service + 1}", *((EXTERNAL,) if service == owner else ()))
            made = Frontend("vm", f"svc-{service}", transport, 80, addresses)
            if rng.random() < 0.6:
                if made.name in before:
                    found[made.name] = replace(before[made.name], addresses=addresses)
            elif rng.random() < 0.7:
                hosts = rng.sample(range(2, 8), rng.randrange(4))
                endpoints = tuple((f"10.244.0.{host}", rng.choice((8080, 9090))) for host in hosts)
                found[made.name] = replace(made, endpoints=endpoints, affinity=rng.choice((0, 0, 60, 90)))
    return found


async def _listed(netns: NetNs) -> set[str]:
    """Chains, sets and their elements, in no order; how long an element of a set still stays is left out."""
    listed = await run(("nft", "list", "table", *TABLE.split()), netns=netns)
    assert listed.returncode == 0, listed.stderr
    block, found = "", set()
    for line in listed.stdout.replace(",\n", ", ").splitlines():
        if line.endswith("{"):
            block = line.strip()
        parts = (part.strip("\t }").removeprefix("elements = { ") for part in line.split(", "))
        found |= {f"{block} {part}" for part in parts if part}
    return found
