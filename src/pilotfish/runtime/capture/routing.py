"""TPROXY's policy routing: what carries the mark is delivered in the namespace, whatever address it is for.

    ip rule add fwmark 1337 lookup 133
    ip route add local default dev lo table 133

Source: kernel, Documentation/networking/tproxy.rst; numbers as Istio's.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pilotfish.capture import CaptureSpec, Difference, Mode
from pilotfish.capture.spec import Family
from pilotfish.model.wellknown import TPROXY_MARK, TPROXY_ROUTE_TABLE
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux import netlink
from pilotfish.runtime.linux.netlink import Message, Netlink, attribute
from pilotfish.runtime.linux.netns import NetNs

GROUPS = (7, 8, 11, 19)
"""RTNLGRP_IPV4_ROUTE, _RULE, RTNLGRP_IPV6_ROUTE, _RULE."""
PROTOCOL = 137
"""Marks rules and routes as ours (rtm_protocol, /etc/iproute2/rt_protos), so that they are known again."""
_ISTIO = (TPROXY_MARK, TPROXY_ROUTE_TABLE)
"""Istio's own has the numbers alone to know it by."""
_NEW_ROUTE, _DEL_ROUTE, _GET_ROUTE, _NEW_RULE, _DEL_RULE, _GET_RULE = 24, 25, 26, 32, 33, 34
_RTM = struct.Struct("=BBBBBBBBI")
"""struct rtmsg and struct fib_rule_hdr: family, two lengths, tos, table, ..., kind, flags."""
_RTA_OIF, _RTA_TABLE = 4, 15
_FRA_PRIORITY, _FRA_FWMARK, _FRA_TABLE, _FRA_FWMASK, _FRA_PROTOCOL = 6, 10, 15, 16, 21
_LOCAL_ROUTE, _TO_TABLE, _SCOPE_HOST = 2, 1, 254
_LOOPBACK = 1
"""The index of `lo` in every namespace."""
_ADDRESS_FAMILIES: dict[Family, int] = {4: socket.AF_INET, 6: socket.AF_INET6}


@dataclass(frozen=True, slots=True, order=True)
class PolicyRule:
    """`fwmark MARK lookup TABLE`."""

    mark: int
    table: int

    def __str__(self) -> str:
        return f"fwmark {self.mark} lookup {self.table}"


@dataclass(frozen=True, slots=True)
class Routing:
    """What one family has for marked packets. Ours alone."""

    rules: tuple[PolicyRule, ...] = ()
    """One for each time that it is there."""
    tables: frozenset[int] = frozenset()
    """Those with `local default dev lo`."""


def wanted(spec: CaptureSpec, family: Family) -> PolicyRule | None:
    if spec.mode is not Mode.TPROXY or (family == 6 and not spec.enable_ipv6):
        return None
    return PolicyRule(spec.tproxy_mark, spec.tproxy_route_table)


def read(netns: NetNs, family: Family, rule: PolicyRule | None = None) -> Routing:
    """`rule`: also found if somebody else set it."""
    with netlink.opened(netns, netlink.ROUTE) as link:
        return _read(link, family, rule)


def add(netns: NetNs, family: Family, rule: PolicyRule) -> None:
    """What is missing of it; the route first, so that the rule never leads nowhere. MachineError if it is refused."""
    try:
        with netlink.opened(netns, netlink.ROUTE) as link:
            present = _read(link, family, rule)
            if rule.table not in present.tables:
                _forgiving(link, Message(_NEW_ROUTE, _route(family, rule.table), _CREATING))
            if rule not in present.rules:
                _forgiving(link, Message(_NEW_RULE, _rule(family, rule), _CREATING))
    except OSError as error:
        remedy = "use root" if error.errno == errno.EPERM else "does this kernel have policy routing for that family?"
        raise MachineError(f"ip rule {rule} was refused in {netns.path}: {error.strerror}", remedy) from error


def remove(netns: NetNs, family: Family, keep: PolicyRule | None = None) -> None:
    """All that is ours but `keep`, which stays once."""
    try:
        with netlink.opened(netns, netlink.ROUTE) as link:
            present = _read(link, family, keep)
            surplus = list(present.rules)
            if keep in surplus:
                surplus.remove(keep)
            for rule in surplus:
                _forgiving(link, Message(_DEL_RULE, _rule(family, rule, any_protocol=True)))
            for table in present.tables - ({keep.table} if keep else set()):
                _forgiving(link, Message(_DEL_ROUTE, _route(family, table, any_protocol=True)))
    except OSError as error:
        message = f"policy routing in {netns.path} can't be removed: {error.strerror}"
        raise MachineError(message, "use root" if error.errno == errno.EPERM else "see `ip rule`") from error


def diff(netns: NetNs, spec: CaptureSpec, family: Family) -> Iterator[Difference]:
    rule = wanted(spec, family)
    present = read(netns, family, rule)
    surplus = list(present.rules)
    if rule in surplus:
        surplus.remove(rule)
    elif rule:
        yield Difference("missing", "ip rule", str(rule))
    if rule and rule.table not in present.tables:
        yield Difference("missing", "ip route", f"local default dev lo table {rule.table}")
    for extra in surplus:
        yield Difference("foreign", "ip rule", str(extra))
    for table in sorted(present.tables - ({rule.table} if rule else set())):
        yield Difference("foreign", "ip route", f"local default dev lo table {table}")


_CREATING = netlink.REQUEST | netlink.ACK | netlink.CREATE | netlink.EXCL


def _read(link: Netlink, family: Family, also: PolicyRule | None) -> Routing:
    address_family = _ADDRESS_FAMILIES[family]
    header = _RTM.pack(address_family, 0, 0, 0, 0, 0, 0, 0, 0)
    try:
        rules = [found for data in link.dump(_GET_RULE, header) if (found := _parse_rule(data, also))]
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
            return Routing()
        raise
    # The tables that are looked at for a mark; without a rule a route of ours still has our protocol.
    tables = {rule.table for rule in rules} | ({also.table} if also else set())
    routes = (_parse_route(data, address_family, tables) for data in link.dump(_GET_ROUTE, header))
    return Routing(tuple(sorted(rules)), frozenset(table for table in routes if table))


def _parse_rule(data: bytes, also: PolicyRule | None) -> PolicyRule | None:
    found = netlink.parse_attributes(data[_RTM.size :])
    if _FRA_FWMARK not in found or data[7] != _TO_TABLE:
        return None
    rule = PolicyRule(_number(found[_FRA_FWMARK]), _number(found[_FRA_TABLE]))
    protocol = found.get(_FRA_PROTOCOL, b"\0")[0]
    own = protocol == PROTOCOL or rule == also or (rule.mark, rule.table) == _ISTIO
    return rule if own and _number(found.get(_FRA_FWMASK, b"\xff" * 4)) == 0xFFFFFFFF else None


def _parse_route(data: bytes, address_family: int, tables: set[int]) -> int:
    """The table of `local default dev lo` if it is ours, else 0."""
    family, length, _, _, _, protocol, _, kind, _ = _RTM.unpack_from(data)
    found = netlink.parse_attributes(data[_RTM.size :])
    table = _number(found.get(_RTA_TABLE, b"\0" * 4))
    is_it = (family, length, kind) == (address_family, 0, _LOCAL_ROUTE) and _number(found[_RTA_OIF]) == _LOOPBACK
    return table if is_it and (protocol == PROTOCOL or table in tables) else 0


def _rule(family: Family, rule: PolicyRule, any_protocol: bool = False) -> bytes:
    header = _RTM.pack(_ADDRESS_FAMILIES[family], 0, 0, 0, 0, 0, 0, _TO_TABLE, 0)
    numbers = ((_FRA_FWMARK, rule.mark), (_FRA_FWMASK, 0xFFFFFFFF), (_FRA_TABLE, rule.table))
    attributes = b"".join(attribute(kind, struct.pack("=I", value)) for kind, value in numbers)
    return header + attributes + (b"" if any_protocol else attribute(_FRA_PROTOCOL, bytes((PROTOCOL,))))


def _route(family: Family, table: int, any_protocol: bool = False) -> bytes:
    protocol = 0 if any_protocol else PROTOCOL
    scope = _SCOPE_HOST if family == 4 else 0
    header = _RTM.pack(_ADDRESS_FAMILIES[family], 0, 0, 0, 0, protocol, scope, _LOCAL_ROUTE, 0)
    numbers = ((_RTA_TABLE, table), (_RTA_OIF, _LOOPBACK))
    return header + b"".join(attribute(kind, struct.pack("=I", value)) for kind, value in numbers)


def _forgiving(link: Netlink, message: Message) -> None:
    """What somebody has done already is done."""
    try:
        link.change(message)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESRCH, errno.EEXIST):
            raise


def _number(data: bytes) -> int:
    return int(struct.unpack("=I", data)[0])
