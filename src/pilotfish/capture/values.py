"""One field's value, from YAML or from an annotation's text. ValueError says what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network
from typing import TypeVar

from pilotfish.capture.spec import ALL, All, Mode, Network
from pilotfish.config.values import parse_boolean

T = TypeVar("T")
_INTERFACE = re.compile(r"""(?!-)[^\s/:,!;"'\\]{1,15}""")
_GROUP = re.compile(r"[0-9]+|[A-Za-z_][-A-Za-z0-9_.]{0,31}\$?")
_LARGEST_ID = 2**32 - 2
"""(uid_t) -1 means "no change" to the kernel."""


def parse_port(value: object) -> int:
    return _number(value, 1, 65535, "a port is a number from 1 to 65535")


def parse_id(value: object) -> int:
    return _number(value, 0, _LARGEST_ID, "a user or group id is a number from 0 to 4294967294")


def parse_mark(value: object) -> int:
    return _number(value, 1, 2**32 - 1, "a mark is a number from 1 to 4294967295")


def parse_route_table(value: object) -> int:
    return _number(value, 1, 2**32 - 1, "a route table is a number from 1 to 4294967295")


def parse_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def parse_bool(value: object) -> bool:
    """From text, as Go's strconv.ParseBool."""
    truth = parse_boolean(value)
    if truth is None:
        raise ValueError(f"{value!r} is neither true nor false")
    return truth


def parse_mode(value: object) -> Mode:
    try:
        return Mode(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is neither REDIRECT nor TPROXY") from None


def parse_network(value: object) -> Network:
    try:
        return ip_network(str(value), strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is no address range such as 10.0.0.0/8 or 2001:db8::/32") from None


def parse_network_v4(value: object) -> IPv4Network:
    network = parse_network(value)
    if not isinstance(network, IPv4Network):
        raise ValueError(f"{value!r} is not an IPv4 range")
    return network


def parse_address_v4(value: object) -> IPv4Address:
    address = _address(value)
    if not isinstance(address, IPv4Address):
        raise ValueError(f"{value!r} is not an IPv4 address")
    return address


def parse_address_v6(value: object) -> IPv6Address:
    address = _address(value)
    if not isinstance(address, IPv6Address):
        raise ValueError(f"{value!r} is not an IPv6 address")
    return address


def parse_interface(value: object) -> str:
    if not _INTERFACE.fullmatch(str(value)):
        raise ValueError(f"{value!r} is no interface's name: at most 15 characters, no space, slash, colon or quote")
    return str(value)


def parse_group(value: object) -> str:
    if not _GROUP.fullmatch(str(value)):
        raise ValueError(f"{value!r} is no group's name or number")
    return str(value)


def list_of(parse: Callable[[object], T]) -> Callable[[object], tuple[T, ...]]:
    """A list, or text with commas between; empty parts are left out, as Istio does. Twice the same counts once."""

    def parse_list(value: object) -> tuple[T, ...]:
        return tuple(dict.fromkeys(parse(part) for part in _parts(value)))

    return parse_list


def all_or_list_of(parse: Callable[[object], T]) -> Callable[[object], tuple[T, ...] | All]:
    """The same, or "*"."""
    parse_list = list_of(parse)

    def parse_all_or_list(value: object) -> tuple[T, ...] | All:
        parts = _parts(value)
        if ALL not in parts:
            return parse_list(parts)
        if len(parts) > 1:
            raise ValueError('"*" stands alone, as it includes the others')
        return ALL

    return parse_all_or_list


def _parts(value: object) -> list[object]:
    if isinstance(value, str):
        return [part for part in (text.strip() for text in value.split(",")) if part]
    if isinstance(value, Iterable):
        return list(value)
    if value is None:
        return []
    raise ValueError(f"{value!r} is no list")


def _number(value: object, smallest: int, largest: int, message: str) -> int:
    text = str(value)
    number = int(text) if not isinstance(value, bool) and text.isascii() and text.isdecimal() else -1
    if not smallest <= number <= largest:
        raise ValueError(f"{value!r}: {message}")
    return number


def _address(value: object) -> IPv4Address | IPv6Address:
    try:
        return ip_address(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is no IP address") from None
