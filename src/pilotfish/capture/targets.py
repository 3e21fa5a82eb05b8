"""Targets as functions of a packet: what they change in it, and whether the packet's way through the table ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from ipaddress import ip_address
from types import MappingProxyType
from typing import Literal

from pilotfish.capture.connection import LOOPBACK, State
from pilotfish.capture.matches import parse_masked
from pilotfish.capture.packet import Packet
from pilotfish.capture.rule import Option, Rule
from pilotfish.capture.verdict import Dropped, Redirected, Tproxied, Translated, Unknown


class Flow(Enum):
    """How it goes on."""

    NEXT = "with the next rule"
    ACCEPT = "with the next table"
    RETURN = "behind the rule that called this chain"


Outcome = Flow | Dropped | Unknown
Action = Callable[[Packet], Outcome]
_NEXT: Literal[Flow.NEXT] = Flow.NEXT
_DNS_PORT = "53"
_SOCKET_MARK_BITS = 0xFFFFFFFF

HARMLESS = frozenset(
    ("", "LOG", "NFLOG", "ULOG", "TRACE", "AUDIT", "CHECKSUM", "TCPMSS", "TOS", "DSCP", "TTL", "HL", "CLASSIFY")
)
"""They change nothing that a rule of ours, or the packet's destination, depends on."""


def compile_target(rule: Rule, id: str) -> Action:
    """What a rule that matches does, where it does not go to a chain. `id`: the rule's, for the verdict."""
    compile_action = _TARGETS.get(rule.target)
    if compile_action is None:
        return _unknown(f"the target {rule.target} is not supported", id)
    try:
        return compile_action(rule, id)
    except ValueError as error:
        return _unknown(str(error), id)


def is_harmless(rule: Rule) -> bool:
    """Whether it matches makes no difference."""
    return rule.target in HARMLESS or (rule.target == "CT" and _argument(rule, "--notrack") is None)


def _unknown(why: str, id: str) -> Action:
    outcome = Unknown(f"{id}: {why}", id)
    return lambda _: outcome


def _go(flow: Flow) -> Callable[[Rule, str], Action]:
    return lambda _rule, _id: lambda _packet: flow


def _drop(_: Rule, id: str) -> Action:
    outcome = Dropped(id)
    return lambda _: outcome


def _redirect(rule: Rule, id: str) -> Action:
    option = _argument(rule, "--to-ports")
    if option is not None and not option.value.isdecimal():
        raise ValueError(f"--to-ports {option.value}: the kernel picks one of several ports")
    dns = any(found is not None and found.value == _DNS_PORT for found in map(rule.option, ("--dport", "--dports")))

    def act(packet: Packet) -> Outcome:
        port = packet.destination_port if option is None else int(option.value)
        packet.redirect(port)
        packet.go(Redirected(port, dns, id))
        return Flow.ACCEPT

    return act


def _translate(rule: Rule, id: str) -> Action:
    host, number = _split_endpoint(_required(rule, "--to-destination").value)
    address = ip_address(host)

    def act(packet: Packet) -> Outcome:
        to_port = packet.destination_port if number is None else number
        packet.translate(int(address), to_port, address.is_loopback)
        packet.go(Translated(address, to_port, id))
        return Flow.ACCEPT

    return act


def _set_source(rule: Rule, _: str) -> Action:
    option = _required(rule, "--to-source")
    host, port = _split_endpoint(option.value)
    address = int(ip_address(host))

    def act(packet: Packet) -> Outcome:
        packet.source = address
        packet.source_port = port if port is not None else packet.source_port
        return Flow.ACCEPT

    return act


def _masquerade(_: Rule, id: str) -> Action:
    """The interface's own address, which we don't know; on lo it may be any that this namespace has."""
    on_loopback = Unknown(f"{id}: the source that MASQUERADE chooses on lo is not known", id)

    def act(packet: Packet) -> Outcome:
        if packet.out_interface == LOOPBACK:
            return on_loopback
        packet.source = packet.source_port = None
        return Flow.ACCEPT

    return act


def _tproxy(rule: Rule, id: str) -> Action:
    """To a listening socket of that port; without one the kernel drops the packet (xt_TPROXY.c)."""
    port, mark = _argument(rule, "--on-port"), _argument(rule, "--tproxy-mark")
    if port is None:
        raise ValueError("TPROXY without --on-port depends on the destination port's socket")
    value, mask = parse_masked(mark.value) if mark else (0, 0)
    number = int(port.value)

    def act(packet: Packet) -> Outcome:
        packet.mark = packet.mark & ~mask ^ value
        packet.go(Tproxied(number, packet.mark, id))
        packet.local = True
        return Flow.ACCEPT

    return act


def _set_mark(rule: Rule, _: str) -> Action:
    value, mask = parse_masked(_required(rule, "--set-xmark").value)

    def act(packet: Packet) -> Outcome:
        packet.mark = packet.mark & ~mask ^ value
        return _NEXT

    return act


def _connection_mark(rule: Rule, _: str) -> Action:
    """Nothing happens to a packet without a conntrack entry (xt_connmark.c)."""
    ours, theirs = (_mask(rule, name) for name in ("--nfmask", "--ctmask"))

    def save(packet: Packet) -> Outcome:
        if packet.is_tracked:
            packet.connection_mark = packet.connection_mark & ~theirs ^ packet.mark & ours
        return _NEXT

    def restore(packet: Packet) -> Outcome:
        if packet.is_tracked:
            packet.mark = packet.mark & ~ours ^ packet.connection_mark & theirs
        return _NEXT

    if _argument(rule, "--save-mark") is not None:
        return save
    if _argument(rule, "--restore-mark") is not None:
        return restore
    value, mask = parse_masked(_required(rule, "--set-xmark").value)

    def set_mark(packet: Packet) -> Outcome:
        if packet.is_tracked:
            packet.connection_mark = packet.connection_mark & ~mask ^ value
        return _NEXT

    return set_mark


def _track(rule: Rule, id: str) -> Action:
    """A zone changes nothing for the packet itself, as its conntrack state is given."""
    return _untrack(rule, id) if _argument(rule, "--notrack") is not None else _go(_NEXT)(rule, id)


def _untrack(_: Rule, __: str) -> Action:
    def act(packet: Packet) -> Outcome:
        packet.state = State.UNTRACKED
        return _NEXT

    return act


def _split_endpoint(text: str) -> tuple[str, int | None]:
    """`10.0.0.1:80`, `[2001:db8::1]:80`, `2001:db8::1`. ValueError for a range of ports."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]:")
        return host.removesuffix("]"), int(port) if port else None
    host, _, port = text.partition(":") if text.count(":") == 1 else (text, "", "")
    return host, int(port) if port else None


def _argument(rule: Rule, name: str) -> Option | None:
    return next((option for option in rule.arguments if option.name == name), None)


def _required(rule: Rule, name: str) -> Option:
    option = _argument(rule, name)
    if option is None:
        raise ValueError(f"{rule.target} without {name} is not supported")
    return option


def _mask(rule: Rule, name: str) -> int:
    option = _argument(rule, name)
    return int(option.value, 0) if option else _SOCKET_MARK_BITS


_TARGETS: Mapping[str, Callable[[Rule, str], Action]] = MappingProxyType(
    {
        **{name: _go(_NEXT) for name in HARMLESS},
        "ACCEPT": _go(Flow.ACCEPT),
        "RETURN": _go(Flow.RETURN),
        "DROP": _drop,
        "REJECT": _drop,
        "REDIRECT": _redirect,
        "DNAT": _translate,
        "SNAT": _set_source,
        "MASQUERADE": _masquerade,
        "TPROXY": _tproxy,
        "MARK": _set_mark,
        "CONNMARK": _connection_mark,
        "CT": _track,
        "NOTRACK": _untrack,
    }
)
