"""Whoever applies rules is killed at random moments: each family then has the old rules or the new, never a part."""

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from pilotfish.capture import ALL, CaptureSpec, Mode, RuleSet, diff, native_rules, rules
from pilotfish.capture.generate import FAMILIES
from pilotfish.runtime import capture
from pilotfish.runtime.capture import PacketFilter
from pilotfish.runtime.linux.netns import NetNs

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
OLD = CaptureSpec(
    mode=Mode.TPROXY,
    inbound_ports_include=ALL,
    outbound_ip_ranges_include=ALL,
    exclude_interfaces=("eth7",),
    drop_invalid=True,
    enable_ipv6=True,
)
NEW = replace(OLD, mode=Mode.REDIRECT, drop_invalid=False, redirect_dns=True, capture_all_dns=True)
KILLS = 100
_APPLIER = """
import asyncio, os, signal, sys, time
from pathlib import Path
from pilotfish.runtime import capture
from pilotfish.runtime.linux.netns import NetNs
from tests.runtime.test_capture_kill import NEW, OLD

netns = NetNs(Path(sys.argv[1]))
for line in sys.stdin:
    which, backend, seconds = line.split()
    child = os.fork()
    if child == 0:
        asyncio.run(capture.apply(netns, NEW if which == "new" else OLD, backend=capture.PacketFilter(backend)))
        os._exit(0)
    time.sleep(float(seconds))
    os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Forks for each attempt, as starting Python would take most of the time."""


@pytest.fixture
def applier(netns: NetNs) -> Iterator[subprocess.Popen[str]]:
    command = (sys.executable, "-c", _APPLIER, str(netns.path))
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        yield process
        process.kill()


def wanted(spec: CaptureSpec, backend: PacketFilter) -> tuple[RuleSet, ...]:
    if backend is PacketFilter.NFT:
        return (native_rules(spec),)
    return tuple(rules(spec, family) for family in FAMILIES)


async def present(netns: NetNs, backend: PacketFilter) -> tuple[RuleSet, ...]:
    if backend is PacketFilter.NFT:
        return (await capture.read(netns, backend=backend),)
    return tuple([await capture.read(netns, family, backend) for family in FAMILIES])


async def ended(netns: NetNs) -> None:
    """What the killed one had started has its whole text, and goes on to its end."""
    while netns.pids():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("backend", list(PacketFilter))
async def test_never_half_a_table(netns: NetNs, applier: subprocess.Popen[str], backend: PacketFilter) -> None:
    assert applier.stdin
    assert applier.stdout
    await capture.apply(netns, OLD, backend=backend)
    moments = random.Random(str(backend))
    old, new = wanted(OLD, backend), wanted(NEW, backend)
    seen = set()
    share = len(PacketFilter)
    for attempt in range(KILLS // share + 1):
        which = "old" if attempt % 2 else "new"
        applier.stdin.write(f"{which} {backend} {moments.uniform(0.001, 0.06)}\n")
        applier.stdin.flush()
        code = await asyncio.to_thread(applier.stdout.readline)
        await ended(netns)
        for before, after, found in zip(old, new, await present(netns, backend), strict=True):
            whole = backend is PacketFilter.NFT
            matching = [name for name, one in (("old", before), ("new", after)) if not diff(one, found, whole=whole)]
            assert matching, (attempt, code, [str(one) for one in diff(after, found, whole=whole)])
            seen.add((code.strip(), matching[0]))
    assert {code for code, _ in seen} >= {"-9"}
    await capture.apply(netns, NEW, backend=backend)
    assert await capture.verify(netns, NEW) == ()
