"""What the kernel's nf_tables hold in one namespace, by name, and the removal of what is empty."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from pilotfish.capture.spec import Family
from pilotfish.runtime.linux import netlink
from pilotfish.runtime.linux.netns import NetNs

GROUP = 7
"""NFNLGRP_NFTABLES: told of every change of a rule, chain or table."""
FAMILY_NAMES = {4: "ip", 6: "ip6"}
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_NUMBERS = {name: number for number, name in _FAMILIES.items()}
_SUBSYSTEM = 10 << 8
_GET_TABLE, _DEL_TABLE, _GET_CHAIN, _DEL_CHAIN = (_SUBSYSTEM | number for number in (1, 2, 4, 5))
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_TABLE_NAME, _CHAIN_TABLE, _CHAIN_NAME, _CHAIN_HOOK, _CHAIN_POLICY, _CHAIN_USE = 1, 1, 3, 4, 5, 6
_ACCEPT = 1
_USED = ("PREROUTING", "OUTPUT")
"""The kernel's chains that we put rules into."""


@dataclass(frozen=True, slots=True)
class NamedChain:
    family: str
    """`ip`, `ip6`, `inet`, ..."""
    table: str
    name: str
    idle: bool
    """It is the kernel's own, without a rule, and lets everything pass."""


@dataclass(frozen=True, slots=True)
class NamedTables:
    """What is there, without its rules."""

    tables: frozenset[tuple[str, str]] = frozenset()
    """(family, name)."""
    chains: tuple[NamedChain, ...] = ()

    @classmethod
    def read(cls, netns: NetNs) -> NamedTables:
        """Nothing for a kernel without nf_tables. MachineError if there is no such namespace."""
        try:
            with netlink.opened(netns, netlink.NETFILTER) as link:
                tables = link.dump(_GET_TABLE, _header(0))
                chains = link.dump(_GET_CHAIN, _header(0))
        except OSError:
            return cls()
        return cls(frozenset(_parse_table(data) for data in tables), tuple(_parse_chain(data) for data in chains))


def delete_idle(netns: NetNs, family: Family, tables: Iterable[str]) -> None:
    """Removes idle chains, which iptables-nft makes and leaves behind, from `tables`, and those that have no others.

    One transaction for each. The kernel refuses it if somebody has put a rule or a chain there since we looked.
    """
    name = FAMILY_NAMES[family]
    named = NamedTables.read(netns)
    for table in tables:
        chains = [chain for chain in named.chains if (chain.family, chain.table) == (name, table)]
        whole = all(chain.idle for chain in chains)
        idle = [chain.name for chain in chains if chain.idle and (whole or chain.name in _USED)]
        if (name, table) in named.tables and (whole or idle):
            _delete(netns, _NUMBERS[name], table, idle, whole)


def _delete(netns: NetNs, family: int, table: str, chains: list[str], whole: bool) -> None:
    flags = netlink.REQUEST | netlink.ACK | netlink.NONREC
    of_table = netlink.attribute(_CHAIN_TABLE, _text(table))
    messages = [
        netlink.Message(_BATCH_BEGIN, _header(0, _SUBSYSTEM >> 8), netlink.REQUEST),
        *(
            netlink.Message(
                _DEL_CHAIN, _header(family) + of_table + netlink.attribute(_CHAIN_NAME, _text(chain)), flags
            )
            for chain in chains
        ),
        *(
            netlink.Message(_DEL_TABLE, _header(family) + netlink.attribute(_TABLE_NAME, _text(table)), flags)
            for _ in range(whole)
        ),
        netlink.Message(_BATCH_END, _header(0, _SUBSYSTEM >> 8), netlink.REQUEST),
    ]
    try:
        with netlink.opened(netns, netlink.NETFILTER) as link:
            link.batch(messages)
    except OSError:
        # Somebody uses it now, or has removed it.
        return


def _header(family: int, resource: int = 0) -> bytes:
    """struct nfgenmsg."""
    return struct.pack("=BB", family, 0) + struct.pack("!H", resource)


def _text(name: str) -> bytes:
    return name.encode() + b"\0"


def _read_text(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


def _parse_table(data: bytes) -> tuple[str, str]:
    return _FAMILIES.get(data[0], "?"), _read_text(netlink.parse_attributes(data[4:])[_TABLE_NAME])


def _parse_chain(data: bytes) -> NamedChain:
    found = netlink.parse_attributes(data[4:])
    used = struct.unpack("!I", found.get(_CHAIN_USE, b"\0\0\0\0"))[0]
    policy = struct.unpack("!I", found.get(_CHAIN_POLICY, b"\0\0\0\1"))[0]
    idle = _CHAIN_HOOK in found and not used and policy == _ACCEPT
    family = _FAMILIES.get(data[0], "?")
    return NamedChain(family, _read_text(found[_CHAIN_TABLE]), _read_text(found[_CHAIN_NAME]), idle)
