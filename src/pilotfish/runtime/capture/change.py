"""Rules into a namespace and out of it."""

from __future__ import annotations

import asyncio
import grp
from dataclasses import replace

from pilotfish.capture import CaptureSpec, RuleSet, native_rules, rules
from pilotfish.capture.spec import ALL, Family
from pilotfish.model.wellknown import INBOUND_BIND_IPV6
from pilotfish.runtime.capture import iptables, nft, nftables, routing
from pilotfish.runtime.capture.backends import FAMILIES, PacketFilter, Survey, choose, is_installed
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux import loopback
from pilotfish.runtime.linux.netns import NetNs


async def apply(
    netns: NetNs, spec: CaptureSpec, families: tuple[Family, ...] = FAMILIES, backend: PacketFilter | None = None
) -> PacketFilter:
    """Brings the namespace to what `spec` says, whatever of ours it held before, and says by which back-end.

    With IPv6 the address is there, too, from which the proxy calls its application, as the rules let it pass.

    The order keeps what is captured captured: marks are routed before rules set them, the new rules stand before those
    of another back-end go, and what nothing marks any more loses its route last. MachineError if a program is missing
    or the kernel refuses; then that family's rules are as they were.
    """
    spec, families = resolve_groups(spec), known(families)
    survey = Survey.take(netns)
    backend = backend or await choose(netns, survey)
    if spec.enable_ipv6 and 6 in families:
        _add_source(netns)
    for family in families:
        if rule := routing.wanted(spec, family):
            routing.add(netns, family, rule)
    await _bring(netns, spec, families, backend, survey)
    await _remove(netns, families, survey, tuple(other for other in PacketFilter if other is not backend))
    for family in families:
        routing.remove(netns, family, routing.wanted(spec, family))
    return backend


def _add_source(netns: NetNs) -> None:
    try:
        with netns.entered():
            loopback.add_source()
    except OSError as error:
        what = f"{INBOUND_BIND_IPV6} can't be added to the loopback of network namespace {netns.path}"
        raise MachineError(f"{what}: {error.strerror}", "use root, or capture IPv4 alone") from error


async def clean(netns: NetNs, families: tuple[Family, ...] = FAMILIES) -> None:
    """Removes all that is ours, of every back-end, and leaves others' rules. nft's tables serve both families."""
    await _remove(netns, families, Survey.take(netns), tuple(PacketFilter))
    for family in families:
        routing.remove(netns, family)


def known(families: tuple[Family, ...]) -> tuple[Family, ...]:
    """Without IPv6 where the kernel has none: nothing of it can arrive or leave, and no rule of it be set."""
    return families if loopback.knows_ipv6() else tuple(family for family in families if family == 4)


async def read(netns: NetNs, family: Family = 4, backend: PacketFilter | None = None) -> RuleSet:
    """All rules that the namespace holds by `backend`, others' too, with their counters."""
    backend = backend or await choose(netns, Survey.take(netns))
    if backend is PacketFilter.NFT:
        return await nft.read(netns)
    return await iptables.save(netns, "nft" if backend is PacketFilter.IPTABLES_NFT else "legacy", family)


def resolve_groups(spec: CaptureSpec) -> CaptureSpec:
    """Names of groups as numbers, as the kernel knows no others. An unknown one stays, and is refused by iptables."""
    include = spec.owner_groups_include
    return replace(
        spec,
        owner_groups_include=include if include == ALL else tuple(_group(name) for name in include),
        owner_groups_exclude=tuple(_group(name) for name in spec.owner_groups_exclude),
    )


def _group(name: str) -> str:
    try:
        return name if name.isdecimal() else str(grp.getgrnam(name).gr_gid)
    except KeyError:
        return name


async def _bring(
    netns: NetNs, spec: CaptureSpec, families: tuple[Family, ...], backend: PacketFilter, survey: Survey
) -> None:
    if backend is PacketFilter.NFT:
        await nft.bring(netns, native_rules(spec, families), survey.native)
        return
    variant: iptables.Variant = "nft" if backend is PacketFilter.IPTABLES_NFT else "legacy"
    steps = []
    for family in families:
        used = survey.has_tables(family) if variant == "nft" else family in survey.legacy
        wanted = rules(spec, family)
        if wanted.tables or used:
            steps.append(iptables.bring(netns, variant, family, wanted, None if used else RuleSet()))
    await asyncio.gather(*steps)
    if variant == "nft":
        for family in families:
            kept = {table.name for table in rules(spec, family).tables}
            nftables.delete_idle(netns, family, (name for name in survey.own_tables(family) if name not in kept))


async def _remove(
    netns: NetNs, families: tuple[Family, ...], survey: Survey, backends: tuple[PacketFilter, ...]
) -> None:
    """All that is ours of these back-ends."""
    steps = []
    for family in families:
        if PacketFilter.IPTABLES_NFT in backends and survey.own_tables(family):
            steps.append(iptables.bring(netns, "nft", family, RuleSet(), None))
        # Not even iptables tells whether the kernel has legacy rules, if it can't speak to that part of it.
        if (
            PacketFilter.IPTABLES_LEGACY in backends
            and family in survey.legacy
            and is_installed(PacketFilter.IPTABLES_LEGACY)
        ):
            steps.append(iptables.bring(netns, "legacy", family, RuleSet(), None))
    if PacketFilter.NFT in backends:
        steps.append(nft.bring(netns, RuleSet(), survey.native))
    await asyncio.gather(*steps)
    if PacketFilter.IPTABLES_NFT in backends:
        for family in families:
            nftables.delete_idle(netns, family, survey.own_tables(family))
