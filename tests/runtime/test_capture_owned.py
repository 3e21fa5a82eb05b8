"""Capture where a user namespace owns the network namespace: from within alone the kernel takes rules about users."""

import asyncio
import os
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

from pilotfish.capture import diff, native_rules, rules
from pilotfish.runtime import capture
from pilotfish.runtime.capture import PacketFilter
from pilotfish.runtime.linux.command import run
from pilotfish.runtime.linux.netns import NetNs
from tests.capture.pods import POD

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
PILOTFISH = str(Path(sys.executable).parent / "pilotfish")
each_backend = pytest.mark.parametrize("backend", list(PacketFilter))
HARM = {
    PacketFilter.IPTABLES_NFT: "iptables-nft -t nat -F ISTIO_OUTPUT",
    PacketFilter.IPTABLES_LEGACY: "iptables-legacy -t nat -F ISTIO_OUTPUT",
    PacketFilter.NFT: "nft flush chain inet istio-proxy-nat istio-output",
}


@each_backend
async def test_rules_are_set_read_back_and_removed(owned_netns: NetNs, backend: PacketFilter) -> None:
    assert await capture.apply(owned_netns, POD, backend=backend) is backend
    assert await capture.verify(owned_netns, POD) == ()
    wanted = native_rules(POD) if backend is PacketFilter.NFT else rules(POD, 4)
    present = await capture.read(owned_netns)
    assert not diff(wanted, present, whole=backend is PacketFilter.NFT)
    assert await capture.apply(owned_netns, POD) is backend
    await capture.clean(owned_netns)
    assert {one.difference.kind for one in await capture.verify(owned_netns, POD)} == {"missing"}


@each_backend
async def test_what_somebody_changes_is_undone(owned_netns: NetNs, backend: PacketFilter) -> None:
    await capture.apply(owned_netns, POD, backend=backend)
    async with aclosing(capture.watch(owned_netns, POD, repair=True)) as seen, asyncio.timeout(10):
        assert await anext(seen) == ()
        done = await run(HARM[backend].split(), netns=owned_netns, as_owner=True)
        assert not done.returncode, done.stderr
        assert {one.difference.kind for one in await anext(seen)} == {"missing"}
        assert await anext(seen) == ()


def test_it_is_told_what_the_kernel_refuses(owned_netns: NetNs) -> None:
    """By hand, from outside: why what we do is done within."""
    text = "*filter\n-A OUTPUT -m owner --uid-owner 1337 -j ACCEPT\nCOMMIT\n"
    with owned_netns.entered():
        done = subprocess.run(["iptables-restore"], input=text, text=True, capture_output=True, check=False)
    assert done.returncode
    assert "Invalid argument" in done.stderr


@pytest.mark.parametrize("place", ["a name", "a process", "where it is called"])
def test_by_hand(owned_netns: NetNs, place: str) -> None:
    with owned_netns.entered():
        process = subprocess.Popen(["sleep", "60"])
    ways = {"a name": ["--netns", owned_netns.name], "a process": ["--pid", str(process.pid)]}
    words = ["-b", "*", "-i", "*", *ways.get(place, [])]
    inside = [] if place in ways else ["ip", "netns", "exec", owned_netns.name]
    try:
        for command, says in (("apply", "applied"), ("verify", "holds what is meant"), ("clean", "cleaned")):
            options = words if command != "clean" else words[4:]
            argv = [*inside, PILOTFISH, "capture", command, *options]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (0, ""), command
            assert says in done.stdout
    finally:
        process.kill()
        process.wait()
