"""Match options as functions of a packet, by name in a table: what is not in it can't be told.

A test answers True, False, or None where the packet lacks what it asks for or the option's value is not supported.
Semantics: iptables(8), iptables-extensions(8), and the kernel's net/netfilter/xt_*.c where they say less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from types import MappingProxyType

from pilotfish.capture.connection import State
from pilotfish.capture.packet import Packet
from pilotfish.capture.rule import Match, Option
from pilotfish.capture.shown import show_endpoint, show_interface, show_owner, show_port
from pilotfish.capture.spec import Network

Test = Callable[[Packet], bool | None]
_EPHEMERAL = range(32768, 61000)
"""Source ports of the kernel's choice (ip-sysctl.rst, ip_local_port_range)."""
_LOOPBACK_V4, _LOOPBACK_V6 = IPv4Network("127.0.0.0/8"), IPv6Network("::/96")
"""The second holds ::1, and ::6, from which the proxy calls its app."""
_PROTOCOL_NUMBERS = {"6": "tcp", "17": "udp"}


@dataclass(frozen=True, slots=True)
class Matcher:
    compile: Callable[[str], Test]
    """From the option's value. ValueError for one that is not supported."""
    shown: Callable[[Packet], str]
    """What the packet has: `the destination port is 80`."""
    applies: Callable[[str], Callable[[Packet], bool]] | None = None
    """From the option's value. Where it does not, the option matches neither as it is nor negated."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One option of a rule, ready to be asked."""

    option: Option
    test: Test
    shown: Callable[[Packet], str]


def compile_match(match: Match) -> tuple[Criterion, ...]:
    """All must hold. A module that is not supported gives None whatever the packet."""
    if match.module == "comment":
        return ()
    if not match.options:
        return (_unsupported(Option("-m", (match.module,))),)
    return tuple(_compile_option(match.module, option) for option in match.options)


def _compile_option(module: str, option: Option) -> Criterion:
    matcher = MATCHERS.get((module, option.name))
    if matcher is None:
        return _unsupported(option)
    try:
        test = matcher.compile(" ".join(option.values))
    except ValueError:
        return _unsupported(option)
    if option.negated:
        test = _negated(test, matcher.applies(option.value) if matcher.applies else None)
    return Criterion(option, test, matcher.shown)


def _unsupported(option: Option) -> Criterion:
    return Criterion(option, lambda _: None, lambda _: "this match is not supported")


def _negated(test: Test, applies: Callable[[Packet], bool] | None) -> Test:
    def negated(packet: Packet) -> bool | None:
        if applies is not None and not applies(packet):
            return False
        found = test(packet)
        return None if found is None else not found

    return negated


def _network(attribute: str) -> Callable[[str], Test]:
    """An address of the other family never matches."""

    def compile_network(value: str) -> Test:
        network = ip_network(value)
        version, first, mask = network.version, int(network.network_address), int(network.netmask)
        at_large = False if _is_of_loopback(network) else None if mask else True

        def test(packet: Packet) -> bool | None:
            if packet.version != version:
                return False
            address: int | None = getattr(packet, attribute)
            return at_large if address is None else address & mask == first

        return test

    return compile_network


def _of_family(value: str) -> Callable[[Packet], bool]:
    """A table of nft serves both: `ip6 daddr != ::1` is about IPv6 alone (nft(8))."""
    version = ip_network(value).version
    return lambda packet: packet.version == version


def _is_of_loopback(network: Network) -> bool:
    """No interface but lo has such an address, so a packet that another chose or brought has none (RFC 1122, 4291)."""
    if isinstance(network, IPv4Network):
        return network.subnet_of(_LOOPBACK_V4)
    return network.subnet_of(_LOOPBACK_V6)


def _interface(attribute: str) -> Callable[[str], Test]:
    """`eth+` is every name that begins with eth."""

    def compile_interface(value: str) -> Test:
        prefix = value[:-1] if value.endswith("+") else None

        def test(packet: Packet) -> bool | None:
            name: str | None = getattr(packet, attribute)
            return None if name is None else name == value if prefix is None else name.startswith(prefix)

        return test

    return compile_interface


def _protocol(value: str) -> Test:
    wanted = _PROTOCOL_NUMBERS.get(value, value)
    return lambda packet: packet.protocol == wanted


def _ports(*attributes: str) -> Callable[[str], Test]:
    """`80`, `80:90`, `80,443,8000:8999`: any of them at any of the packet's `attributes`."""

    def compile_ports(value: str) -> Test:
        ranges = tuple(_number_range(part, ":", 65535) for part in value.split(","))

        def test(packet: Packet) -> bool | None:
            found = [_port_in(getattr(packet, attribute), ranges) for attribute in attributes]
            return True if True in found else None if None in found else False

        return test

    def compile_port(value: str) -> Test:
        # The most frequent of all matches, so it has a way of its own.
        if attributes != ("destination_port",) or not value.isdecimal():
            return compile_ports(value)
        port = int(value)
        return lambda packet: packet.destination_port == port

    return compile_port


def _port_in(port: int | None, ranges: tuple[range, ...]) -> bool | None:
    if port is not None:
        return any(port in numbers for numbers in ranges)
    return None if any(_overlap(numbers, _EPHEMERAL) for numbers in ranges) else False


def _overlap(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop


def _number_range(text: str, separator: str, largest: int) -> range:
    first, given, last = text.partition(separator)
    start = int(first or 0)
    return range(start, (int(last or largest) if given else start) + 1)


def _owner(attribute: str) -> Callable[[str], Test]:
    """A number or a range of them. Without a socket nothing matches (xt_owner.c)."""

    def compile_owner(value: str) -> Test:
        ids = _number_range(value, "-", 2**32 - 1)

        def test(packet: Packet) -> bool | None:
            number: int | None = getattr(packet, attribute)
            return number is not None and number in ids

        return test

    return compile_owner


def _socket_exists(_: str) -> Test:
    return lambda packet: packet.uid is not None


def _mark(value: str) -> Test:
    wanted, mask = parse_masked(value)
    return lambda packet: packet.mark & mask == wanted


def _connection_mark(value: str) -> Test:
    wanted, mask = parse_masked(value)
    return lambda packet: packet.is_tracked and packet.connection_mark & mask == wanted


def parse_masked(text: str) -> tuple[int, int]:
    """`0x539/0xffff` → value and mask; all bits without a mask."""
    value, given, mask = text.partition("/")
    return int(value, 0), int(mask, 0) if given else 0xFFFFFFFF


def _state(value: str) -> Test:
    """SNAT and DNAT, which are no states but memories of translation, are not supported."""
    states = frozenset(State(part) for part in value.split(","))
    return lambda packet: packet.tracked_state in states


def _flags(value: str) -> Test:
    """What iptables saves for --syn. A TCP connection's first packet is its SYN, and no later one is."""
    mask, _space, flags = value.partition(" ")
    if set(mask.split(",")) != {"FIN", "SYN", "RST", "ACK"} or flags != "SYN":
        raise ValueError("other flags are not known of a connection")
    return lambda packet: _is_first(packet.state)


def _syn(_: str) -> Test:
    return lambda packet: _is_first(packet.state)


def _is_first(state: State) -> bool | None:
    if state is State.INVALID or state is State.UNTRACKED:
        return None
    return state is not State.ESTABLISHED


def _destination_type(value: str) -> Test:
    """LOCAL alone: the routing tables tell the others."""
    if value != "LOCAL":
        raise ValueError("only LOCAL is known")
    return lambda packet: packet.local


_SOURCE = Matcher(_network("source"), show_endpoint("source", "source"), _of_family)
_DESTINATION = Matcher(_network("destination"), show_endpoint("destination", "destination"), _of_family)
_SOURCE_PORT = Matcher(_ports("source_port"), show_port("source", "source_port"))
_DESTINATION_PORT = Matcher(_ports("destination_port"), show_port("destination", "destination_port"))
_STATE = Matcher(_state, lambda packet: f"the state is {packet.tracked_state}")
_NO_ENTRY = "conntrack has no entry for it"
_CONNMARK = Matcher(
    _connection_mark,
    lambda packet: f"the connection's mark is {packet.connection_mark:#x}" if packet.is_tracked else _NO_ENTRY,
    lambda _: lambda packet: packet.is_tracked,
)

_LOCALITY: Mapping[bool | None, str] = MappingProxyType(
    {True: "this namespace's own", False: "elsewhere", None: "not known to be local or not"}
)

MATCHERS: Mapping[tuple[str, str], Matcher] = MappingProxyType(
    {
        ("", "-s"): _SOURCE,
        ("", "-d"): _DESTINATION,
        ("", "-i"): Matcher(_interface("in_interface"), show_interface("incoming", "in_interface")),
        ("", "-o"): Matcher(_interface("out_interface"), show_interface("outgoing", "out_interface")),
        ("", "-p"): Matcher(_protocol, lambda packet: f"the protocol is {packet.protocol}"),
        ("tcp", "--sport"): _SOURCE_PORT,
        ("udp", "--sport"): _SOURCE_PORT,
        ("tcp", "--dport"): _DESTINATION_PORT,
        ("udp", "--dport"): _DESTINATION_PORT,
        ("tcp", "--tcp-flags"): Matcher(_flags, lambda packet: f"the state is {packet.state}"),
        ("tcp", "--syn"): Matcher(_syn, lambda packet: f"the state is {packet.state}"),
        ("multiport", "--sports"): _SOURCE_PORT,
        ("multiport", "--dports"): _DESTINATION_PORT,
        ("multiport", "--ports"): Matcher(
            _ports("source_port", "destination_port"), show_port("destination", "destination_port")
        ),
        ("owner", "--uid-owner"): Matcher(_owner("uid"), show_owner("user", "uid")),
        ("owner", "--gid-owner"): Matcher(_owner("gid"), show_owner("group", "gid")),
        ("owner", "--socket-exists"): Matcher(_socket_exists, show_owner("user", "uid")),
        ("mark", "--mark"): Matcher(_mark, lambda packet: f"the mark is {packet.mark:#x}"),
        ("connmark", "--mark"): _CONNMARK,
        ("conntrack", "--ctstate"): _STATE,
        ("state", "--state"): _STATE,
        ("addrtype", "--dst-type"): Matcher(
            _destination_type, lambda packet: f"the destination is {_LOCALITY[packet.local]}"
        ),
    }
)
