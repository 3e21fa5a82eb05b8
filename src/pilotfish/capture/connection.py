"""A connection about which the rules are asked, as a value and as a line of text.

    [in|out] [tcp|udp] ADDRESS:PORT [from ADDRESS[:PORT]] [KEY=VALUE ...]

Without a direction it goes out, without a protocol it is TCP. An IPv6 address with a port stands in brackets. Keys:

    interface=NAME   where it comes in or goes out; else lo to an address of this namespace's own, eth0 to any other
    uid=N gid=N      whose socket it is (out only); else 0 and 0: an application's, run by root
    mark=N           the packet's mark; else 0. A number may be written 0x539
    connmark=N       the mark that conntrack keeps for the connection; else 0
    state=STATE      NEW, ESTABLISHED, RELATED, INVALID or UNTRACKED in conntrack; else NEW: its first packet
    local=yes|no     whether ADDRESS is this namespace's own; else yes for `in`, loopback and interface=lo

Valid:

    10.96.0.7:8888
    out tcp 10.96.0.7:8888 uid=1337 gid=1337
    out tcp 10.244.0.2:8888 local=yes
    out udp 10.96.0.10:53
    out tcp [2001:db8::7]:80 from 2001:db8::2
    in tcp 10.244.0.2:8888 from 10.244.0.9:41000 interface=eth1

Invalid, each with a ValueError:

    10.96.0.7                         no port
    example.org:80                    a name; rules know addresses alone
    2001:db8::7:80                    no brackets, so the port can't be told from the address
    in tcp 10.244.0.2:80 uid=1337     what comes in has no owner
    in tcp 127.0.0.1:80 interface=lo  what comes by lo was sent here: `out`
    10.96.0.7:80 from 2001:db8::2     two families
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import MappingProxyType
from typing import Any, Literal

from pilotfish.capture.values import parse_id, parse_interface, parse_port

Address = IPv4Address | IPv6Address
LOOPBACK = "lo"
DEFAULT_INTERFACE = "eth0"


class Direction(StrEnum):
    IN = "in"
    """From another network namespace or machine."""
    OUT = "out"
    """From a process of this namespace."""


class State(StrEnum):
    """What conntrack says of the packet (iptables-extensions(8), conntrack)."""

    NEW = "NEW"
    ESTABLISHED = "ESTABLISHED"
    RELATED = "RELATED"
    INVALID = "INVALID"
    UNTRACKED = "UNTRACKED"


@dataclass(frozen=True, slots=True)
class Connection:
    """One packet of a connection, with `state` NEW its first. ValueError if it contradicts itself."""

    direction: Direction
    protocol: Literal["tcp", "udp"]
    destination: Address
    destination_port: int
    source: Address | None = None
    """None: over loopback the address that the kernel would choose, otherwise not known."""
    source_port: int | None = None
    """None: one of the kernel's choice (ip_local_port_range)."""
    interface: str = ""
    """"" for the usual one, see `via`."""
    uid: int | None = None
    """None: 0 for what goes out; nothing that comes in has an owner."""
    gid: int | None = None
    mark: int = 0
    connection_mark: int = 0
    state: State = State.NEW
    local: bool | None = None
    """Whether the destination is this namespace's own; None to tell it from the rest, see `is_local`."""

    def __post_init__(self) -> None:
        if self.source is not None and self.source.version != self.destination.version:
            raise ValueError(f"{self.source} and {self.destination} are of two families, which never connect")
        if self.direction is Direction.IN and (self.uid is not None or self.gid is not None):
            raise ValueError("what comes in has no owner that rules could see: leave out uid and gid, or say `out`")
        if self.direction is Direction.IN and self.interface == LOOPBACK:
            raise ValueError("what comes in by lo was sent by a process here: say `out`")
        if self.local is False and self.interface == LOOPBACK:
            raise ValueError("lo leads to this namespace alone: leave out local=no, or the interface")

    @classmethod
    def parse(cls, text: str) -> Connection:
        """One line in the grammar of this module. ValueError says what is wrong and how it is written."""
        words = text.split()
        direction = Direction(words.pop(0).lower()) if words and words[0].lower() in (*Direction,) else Direction.OUT
        protocol = words.pop(0).lower() if words and words[0].lower() in ("tcp", "udp") else "tcp"
        if not words:
            raise ValueError("no destination is given: write it as ADDRESS:PORT, for instance 10.96.0.7:8888")
        destination, port = _parse_endpoint(words.pop(0))
        if port is None:
            raise ValueError(f"{destination} has no port: write {_join(destination, 80)} for port 80")
        fields = _parse_source(words) | _parse_fields(words)
        return cls(direction, "udp" if protocol == "udp" else "tcp", destination, port, **fields)

    @property
    def family(self) -> Literal[4, 6]:
        return self.destination.version

    @property
    def is_local(self) -> bool:
        """It ends in this namespace, if no rule leads it elsewhere."""
        if self.local is not None:
            return self.local
        return self.direction is Direction.IN or self.interface == LOOPBACK or self.destination.is_loopback

    @property
    def via(self) -> str:
        """The interface by which it comes in or is about to go out."""
        if self.interface:
            return self.interface
        return LOOPBACK if self.direction is Direction.OUT and self.is_local else DEFAULT_INTERFACE

    @property
    def origin(self) -> Address | None:
        """The source; over loopback what the kernel chooses: the address itself, or 127.0.0.1 in 127.0.0.0/8."""
        if self.source is not None or self.direction is Direction.IN or not self.is_local:
            return self.source
        loopback = self.destination.is_loopback and self.destination.version == 4
        return IPv4Address("127.0.0.1") if loopback else self.destination

    def __str__(self) -> str:
        words = [self.direction, self.protocol, _join(self.destination, self.destination_port)]
        if self.source is not None:
            source = str(self.source) if self.source_port is None else _join(self.source, self.source_port)
            words += ["from", source]
        words.append(f"interface={self.via}")
        if self.direction is Direction.OUT:
            words += [f"uid={self.uid or 0}", f"gid={self.gid or 0}"]
        words += [f"mark={self.mark:#x}"] if self.mark else []
        words += [f"connmark={self.connection_mark:#x}"] if self.connection_mark else []
        words += [f"state={self.state}"] if self.state is not State.NEW else []
        words += ["local=yes" if self.local else "local=no"] if self.local is not None else []
        return " ".join(words)


def _parse_endpoint(text: str) -> tuple[Address, int | None]:
    """`10.0.0.1`, `10.0.0.1:80`, `2001:db8::1`, `[2001:db8::1]:80`."""
    host, port = text, ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    try:
        address = ip_address(host)
    except ValueError:
        remedy = "write ADDRESS:PORT with an IP address, an IPv6 one in brackets, for instance [2001:db8::1]:80"
        raise ValueError(f"{host!r} is no IP address, and rules know no names: {remedy}") from None
    return address, parse_port(port) if port else None


def _parse_source(words: list[str]) -> dict[str, Any]:
    """Takes `from ADDRESS[:PORT]` off `words`."""
    if not words or words[0].lower() != "from":
        return {}
    if len(words) < 2:
        raise ValueError("an address is missing behind `from`: write from ADDRESS or from ADDRESS:PORT")
    source, port = _parse_endpoint(words[1])
    del words[:2]
    return {"source": source, "source_port": port}


def _parse_fields(words: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in _KEYS:
            raise ValueError(f"{word!r} is not understood: it is none of {', '.join(f'{name}=' for name in _KEYS)}")
        name, parse = _KEYS[key]
        fields[name] = parse(value)
    return fields


def _parse_mark(value: str) -> int:
    try:
        number = int(value, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 2**32:
        raise ValueError(f"{value!r} is no mark: it is a number from 0 to 4294967295, such as 1337 or 0x539")
    return number


def _parse_state(value: str) -> State:
    try:
        return State(value.upper())
    except ValueError:
        raise ValueError(f"{value!r} is no state of a connection: it is one of {', '.join(State)}") from None


def _parse_local(value: str) -> bool:
    if value.lower() not in ("yes", "no"):
        raise ValueError(f"{value!r}: whether the destination is local is said by local=yes or local=no")
    return value.lower() == "yes"


_KEYS: Mapping[str, tuple[str, Any]] = MappingProxyType(
    {
        "interface": ("interface", parse_interface),
        "uid": ("uid", parse_id),
        "gid": ("gid", parse_id),
        "mark": ("mark", _parse_mark),
        "connmark": ("connection_mark", _parse_mark),
        "state": ("state", _parse_state),
        "local": ("local", _parse_local),
    }
)


def _join(address: Address, port: int) -> str:
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
