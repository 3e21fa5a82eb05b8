"""Whether the host forwards packets: settings of the kernel in the namespace that this process is in.

In IPv4 each interface has its own, for what comes in by it. In IPv6 `all` decides, and an interface's own setting says
whether it is a host's or a router's: a router's takes no addresses and routes from router advertisements, unless
`accept_ra` is 2. Source: ip-sysctl.rst; net/ipv6/addrconf.c (addrconf_fixup_forwarding).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from pilotfish.runtime.errors import MachineError

_IPV4: Final = Path("/proc/sys/net/ipv4/conf")
_IPV6: Final = Path("/proc/sys/net/ipv6/conf")
_ALL: Final = "all"


def forwards_all() -> bool:
    """In IPv4, as Docker and routers have it."""
    return _is_on(_IPV4 / _ALL)


def forwards(interface: str) -> bool:
    return _is_on(_IPV4 / interface)


def set_forwarding(interfaces: Iterable[str], on: bool) -> None:
    """In IPv4. One that is gone is passed over."""
    for interface in interfaces:
        _switch(_IPV4 / interface, on)


def forwards_ipv6() -> bool:
    return _is_on(_IPV6 / _ALL)


def ipv6_routers() -> frozenset[str]:
    """The interfaces that are a router's."""
    return frozenset(each.name for each in _interfaces() if _is_on(each))


def start_forwarding_ipv6() -> None:
    """Without making the interfaces a router's, or losing what they know from router advertisements."""
    hosts = [each for each in _interfaces() if not _is_on(each)]
    listening = [each for each in hosts if _read(each / "accept_ra") == "1"]
    for each in listening:
        _write(each / "accept_ra", "2")
    try:
        _switch(_IPV6 / _ALL, True)
        for each in hosts:
            _switch(each, False)
    finally:
        for each in listening:
            _write(each / "accept_ra", "1")


def stop_forwarding_ipv6(routers: Iterable[str]) -> None:
    """`routers`: the interfaces that stay a router's."""
    _switch(_IPV6 / _ALL, False)
    for interface in routers:
        _switch(_IPV6 / interface, True)


def _interfaces() -> Iterator[Path]:
    """And `default`, which those that come begin with."""
    with suppress(FileNotFoundError):
        yield from (each for each in sorted(_IPV6.iterdir()) if each.name != _ALL)


def _is_on(place: Path) -> bool:
    return _read(place / "forwarding") == "1"


def _switch(place: Path, on: bool) -> None:
    _write(place / "forwarding", "1" if on else "0")


def _read(setting: Path) -> str:
    try:
        return setting.read_text().strip()
    except FileNotFoundError:
        return ""


def _write(setting: Path, value: str) -> None:
    """MachineError where it may not be written, as in some containers; if it is so already, it need not be."""
    if _read(setting) == value:
        return
    try:
        setting.write_text(value)
    except FileNotFoundError:
        return
    except OSError as error:
        name = str(setting.relative_to("/proc/sys"))
        remedy = f"set it yourself: sysctl -w {name}={value}"
        raise MachineError(f"the setting {name} can't be changed: {error.strerror}", remedy) from error
