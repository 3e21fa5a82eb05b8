"""The three ways into the kernel's packet filter, and which of them a namespace uses."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pilotfish.capture import NATIVE_PREFIX, OWN_CHAINS
from pilotfish.capture.spec import Family
from pilotfish.runtime.capture import iptables, nft
from pilotfish.runtime.capture.nftables import FAMILY_NAMES, NamedTables
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.packages import remedy

FAMILIES: tuple[Family, ...] = (4, 6)
_IPTABLES = frozenset(("filter", "mangle", "nat", "raw", "security"))


class PacketFilter(StrEnum):
    IPTABLES_NFT = "iptables-nft"
    """iptables' words in the kernel's nf_tables: what `iptables` is on today's distributions."""
    IPTABLES_LEGACY = "iptables-legacy"
    """The kernel's older ip_tables."""
    NFT = "nft"
    """nf_tables in its own words."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a namespace holds, found without starting a process."""

    named: NamedTables
    legacy: frozenset[Family]
    """Families with legacy tables, be they empty: the kernel does not say more for free."""

    @classmethod
    def take(cls, netns: NetNs) -> Survey:
        legacy = (family for family in FAMILIES if iptables.has_legacy_tables(netns, family))
        return cls(NamedTables.read(netns), frozenset(legacy))

    @property
    def native(self) -> tuple[str, ...]:
        """Our nft tables: `nat`, `mangle`, `raw`."""
        found = (name for family, name in self.named.tables if family == "inet" and name.startswith(NATIVE_PREFIX))
        return tuple(sorted(name.removeprefix(NATIVE_PREFIX) for name in found))

    def has_tables(self, family: Family) -> bool:
        """iptables-nft has been used here, by anybody."""
        return any((FAMILY_NAMES[family], name) in self.named.tables for name in _IPTABLES)

    def own_tables(self, family: Family) -> tuple[str, ...]:
        """Tables of iptables-nft that hold chains of ours."""
        of_family = (chain for chain in self.named.chains if chain.family == FAMILY_NAMES[family])
        return tuple(sorted({chain.table for chain in of_family if chain.name in OWN_CHAINS}))

    def owner(self) -> PacketFilter | None:
        """What our rules came in by, unless that was legacy."""
        if self.native:
            return PacketFilter.NFT
        return PacketFilter.IPTABLES_NFT if any(self.own_tables(family) for family in FAMILIES) else None

    def used(self) -> PacketFilter | None:
        """What others' rules came in by, unless that was legacy."""
        families = set(FAMILY_NAMES.values())
        tables = {(chain.family, chain.table) for chain in self.named.chains if not chain.idle}
        if any(family in families and name in _IPTABLES for family, name in tables):
            return PacketFilter.IPTABLES_NFT
        return PacketFilter.NFT if tables else None


async def choose(netns: NetNs, survey: Survey) -> PacketFilter:
    """Where our rules are; else where others' are; else iptables, or nft where iptables is missing."""
    used = survey.owner()
    if used is None and survey.legacy and is_installed(PacketFilter.IPTABLES_LEGACY):
        saved = [await iptables.save(netns, "legacy", family) for family in sorted(survey.legacy)]
        tables = [table for ruleset in saved for table in ruleset.tables]
        own = any(chain.name in OWN_CHAINS for table in tables for chain in table.chains)
        used = PacketFilter.IPTABLES_LEGACY if own or (tables and not survey.used()) else None
    used = used or survey.used()
    for backend in (used, PacketFilter.IPTABLES_NFT, PacketFilter.NFT, PacketFilter.IPTABLES_LEGACY):
        if backend is not None and is_installed(backend):
            return backend
    message = "no packet filter can be set: nft is missing, and iptables-save is missing"
    raise MachineError(message, remedy("iptables-save"))


def is_installed(backend: PacketFilter) -> bool:
    if backend is PacketFilter.NFT:
        return nft.is_installed()
    variant: iptables.Variant = "nft" if backend is PacketFilter.IPTABLES_NFT else "legacy"
    return iptables.find_program(variant, 4, "restore") is not None
