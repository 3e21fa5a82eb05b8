"""Whether the kernel still holds what was meant, now or whenever it changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass

from pilotfish.capture import CaptureSpec, Difference, RuleSet, diff, native_rules, rules
from pilotfish.capture.spec import Family
from pilotfish.runtime.capture import iptables, nft, nftables, routing
from pilotfish.runtime.capture.backends import FAMILIES, PacketFilter, Survey, choose, is_installed
from pilotfish.runtime.capture.change import apply, known, resolve_groups
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux import netlink
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.told import told

LEGACY_POLL = 1.0
"""Seconds. The kernel tells nobody when legacy rules change."""
_GROUPS = ((netlink.NETFILTER, (nftables.GROUP,)), (netlink.ROUTE, routing.GROUPS))
_SETTLING = 0.02
"""Seconds that a burst of changes is waited for."""


@dataclass(frozen=True, slots=True)
class Drift:
    where: str
    """`iptables-nft IPv4`, `nft`, `routing IPv6`."""
    difference: Difference

    def __str__(self) -> str:
        return f"{self.where}: {self.difference}"


async def verify(
    netns: NetNs, spec: CaptureSpec, families: tuple[Family, ...] = FAMILIES, backend: PacketFilter | None = None
) -> tuple[Drift, ...]:
    """What differs; () if all is as `spec` says. `backend` None: the one that the namespace uses.

    Every back-end is read: rules of ours that another one holds are foreign, as they would act, too.
    """
    spec, families = resolve_groups(spec), known(families)
    survey = Survey.take(netns)
    backend = backend or await choose(netns, survey)
    found = []
    for each in PacketFilter:
        for where, wanted, present in await _read(netns, spec, families, each, backend, survey):
            found += [Drift(where, one) for one in diff(wanted, present, whole=each is PacketFilter.NFT)]
    for family in families:
        found += [Drift(f"routing IPv{family}", one) for one in routing.diff(netns, spec, family)]
    return tuple(found)


async def _read(
    netns: NetNs,
    spec: CaptureSpec,
    families: tuple[Family, ...],
    each: PacketFilter,
    backend: PacketFilter,
    survey: Survey,
) -> list[tuple[str, RuleSet, RuleSet]]:
    """(where, wanted, present), for each filter of the back-end `each` that holds something or should."""
    if each is PacketFilter.NFT:
        wanted = native_rules(spec, families) if backend is each else RuleSet()
        if not survey.native:
            return [(str(each), wanted, RuleSet())]
        return [(str(each), wanted, await nft.read(netns))]
    variant: iptables.Variant = "nft" if each is PacketFilter.IPTABLES_NFT else "legacy"
    found = []
    for family in families:
        wanted = rules(spec, family) if backend is each else RuleSet()
        used = survey.has_tables(family) if variant == "nft" else family in survey.legacy
        present = await iptables.save(netns, variant, family) if used and is_installed(each) else RuleSet()
        found.append((f"{each} IPv{family}", wanted, present))
    return found


async def watch(
    netns: NetNs,
    spec: CaptureSpec,
    families: tuple[Family, ...] = FAMILIES,
    backend: PacketFilter | None = None,
    repair: bool = False,
) -> AsyncGenerator[tuple[Drift, ...], None]:
    """What `verify` says now, and again each time that something else is so; with `repair` it is then put right.

    The kernel tells of changes in nf_tables and in routing. Of legacy tables it does not, so where there are some they
    are read every LEGACY_POLL seconds. MachineError once the namespace has no name any more.
    """
    backend = backend or await choose(netns, Survey.take(netns))
    last: tuple[Drift, ...] | None = None
    tried: tuple[Drift, ...] = ()
    with told(netns, _GROUPS) as changed:
        while True:
            changed.clear()
            try:
                found = await verify(netns, spec, families, backend)
            except MachineError as error:
                if netns.exists():
                    raise
                # Its end is a change, too, and may be told of while it is being read.
                raise _gone(netns) from error
            if found != last:
                last = found
                yield found
            # What a repair left as it was is not tried again: nothing would be won by it.
            if repair and found and found != tried:
                tried = found
                await apply(netns, spec, families, backend)
                continue
            tried = found
            await _next_change(netns, changed)


async def _next_change(netns: NetNs, changed: asyncio.Event) -> None:
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(LEGACY_POLL):
                await changed.wait()
            await asyncio.sleep(_SETTLING)
            return
        if not netns.exists():
            raise _gone(netns)
        if any(iptables.has_legacy_tables(netns, family) for family in FAMILIES):
            return


def _gone(netns: NetNs) -> MachineError:
    return MachineError(f"network namespace {netns.path} is gone", "")
