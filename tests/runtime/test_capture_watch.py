"""Whoever changes rules behind our back is seen when it happens, and undone if that is wanted."""

import asyncio
import os
import subprocess
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from pilotfish.capture import ALL, CaptureSpec, Mode
from pilotfish.runtime import capture
from pilotfish.runtime.capture import Drift, PacketFilter
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.netns import NetNs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
POD = CaptureSpec(mode=Mode.TPROXY, inbound_ports_include=ALL, outbound_ip_ranges_include=ALL, enable_ipv6=True)
HARM = {
    PacketFilter.IPTABLES_NFT: "iptables-nft -t nat -F ISTIO_OUTPUT",
    PacketFilter.IPTABLES_LEGACY: "ip6tables-legacy -t mangle -F ISTIO_INBOUND",
    PacketFilter.NFT: "nft flush chain inet istio-proxy-nat istio-output",
}


def inside(netns: NetNs, command: str) -> None:
    with netns.entered():
        subprocess.run(command.split(), check=True, capture_output=True)


async def following(seen: AsyncGenerator[tuple[Drift, ...], None]) -> tuple[Drift, ...]:
    async with asyncio.timeout(10):
        return await anext(seen)


@pytest.mark.parametrize("backend", list(PacketFilter))
async def test_a_change_is_seen_when_it_happens(netns: NetNs, backend: PacketFilter) -> None:
    await capture.apply(netns, POD, backend=backend)
    async with aclosing(capture.watch(netns, POD)) as seen:
        assert await following(seen) == ()
        inside(netns, HARM[backend])
        found = await following(seen)
        assert {one.difference.kind for one in found} == {"missing"}
        await capture.apply(netns, POD)
        assert await following(seen) == ()


@pytest.mark.parametrize("backend", list(PacketFilter))
async def test_a_change_is_undone(netns: NetNs, backend: PacketFilter) -> None:
    await capture.apply(netns, POD, backend=backend)
    async with aclosing(capture.watch(netns, POD, repair=True)) as seen:
        assert await following(seen) == ()
        inside(netns, HARM[backend])
        assert await following(seen)
        assert await following(seen) == ()
    assert await capture.verify(netns, POD) == ()


async def test_routing_is_watched_too(netns: NetNs) -> None:
    await capture.apply(netns, POD)
    async with aclosing(capture.watch(netns, POD)) as seen:
        assert await following(seen) == ()
        inside(netns, "ip -6 rule del fwmark 1337")
        assert [str(one) for one in await following(seen)] == ["routing IPv6: missing: ip rule: fwmark 1337 lookup 133"]


async def test_it_ends_with_the_namespace(netns: NetNs) -> None:
    async with aclosing(capture.watch(netns, POD)) as seen:
        assert await following(seen)
        netns.delete()
        with pytest.raises(MachineError, match="is gone"):
            await following(seen)
