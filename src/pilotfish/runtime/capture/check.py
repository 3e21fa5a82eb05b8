"""Whether a namespace's connections are captured, found out by making one: for who may not read rules.

    proxy's user ─connect─▶ own address:15002 ─nat OUTPUT─▶ ISTIO_IN_REDIRECT ─▶ own 15006: captured
                                               └ no rules ─▶ refused, as nobody listens on 15002

That way leads through the rules that every capture has, whatever its ports and ranges.
Source: https://istio.io/latest/docs/setup/additional-setup/cni/#race-condition--mitigation
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import struct
from collections.abc import AsyncIterator
from typing import Final

from pilotfish.capture import CaptureSpec
from pilotfish.runtime.errors import MachineError

_ASKED_PORT: Final = 15002
"""Nobody's: neither an app's, as all from 15000 on are the proxy's, nor the proxy's."""
_AGAIN: Final = 0.1
"""Seconds between two tries."""
_PATIENCE: Final = 1.0
"""Seconds for one connection, which never leaves the namespace."""
_ORIGINAL_DESTINATION: Final = 80
"""SO_ORIGINAL_DST and IP6T_SO_ORIGINAL_DST (linux/netfilter_ipv4.h, netfilter_ipv6/ip6_tables.h)."""


async def find_uncaptured(spec: CaptureSpec, addresses: tuple[str, ...], wait: float) -> tuple[tuple[str, str], ...]:
    """(address, why) of those whose connections are still not captured after `wait` seconds.

    IPv6 counts where `spec` captures it. MachineError if this process is not the proxy's user, or its port is taken.
    """
    if os.geteuid() not in spec.proxy_uids and os.getegid() not in spec.proxy_gids:
        user = spec.proxy_uids[0] if spec.proxy_uids else "the proxy's"
        raise MachineError(
            f"user {os.geteuid()} can't try out capture: rules send the proxy's own user this way alone",
            f"run it as user {user}, or say whose traffic the proxy's is: --proxy-uid",
        )
    wanted = tuple(address for address in addresses if ":" not in address or spec.enable_ipv6)
    if not wanted:
        raise MachineError("this network namespace has no address whose connections could be captured", "give --ip")
    each_family = (_of_family(wanted, family) for family in (4, 6))
    return tuple([each for those in each_family async for each in _try_all(those, spec, wait)])


def _of_family(addresses: tuple[str, ...], family: int) -> tuple[str, ...]:
    return tuple(address for address in addresses if (":" in address) == (family == 6))


async def _try_all(addresses: tuple[str, ...], spec: CaptureSpec, wait: float) -> AsyncIterator[tuple[str, str]]:
    """One after the other, as they arrive at one port."""
    if not addresses:
        return
    until = asyncio.get_running_loop().time() + wait
    with _listen(addresses[0], spec.inbound_capture_port) as listener:
        for address in addresses:
            if why := await _try(address, spec.inbound_capture_port, listener, until):
                yield address, why


async def _try(address: str, port: int, listener: socket.socket, until: float) -> str:
    """Why connections to `address` are not captured; "" if they are."""
    while why := await _why_not(address, port, listener):
        if asyncio.get_running_loop().time() >= until:
            return why
        await asyncio.sleep(_AGAIN)
    return ""


def _listen(address: str, port: int) -> socket.socket:
    made = socket.socket(_family(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if made.family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, True)
        made.bind(("::" if made.family == socket.AF_INET6 else "0.0.0.0", port))
        made.listen(1)
    except OSError as error:
        made.close()
        raise MachineError(
            f"the proxy's port {port} can't be listened at: {error.strerror}", "try it before the proxy runs"
        ) from error
    return made


async def _why_not(address: str, port: int, listener: socket.socket) -> str:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_PATIENCE):
            with socket.socket(_family(address), socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as caller:
                await loop.sock_connect(caller, (address, _ASKED_PORT))
                taken, _ = await loop.sock_accept(listener)
                with taken:
                    found = _original_destination(taken)
    except TimeoutError:
        return f"what goes to port {_ASKED_PORT} arrives nowhere"
    except OSError as error:
        return f"what goes to port {_ASKED_PORT} does not arrive at {port}: {os.strerror(error.errno or 0)}"
    return "" if found == (address, _ASKED_PORT) else f"{found} arrived at port {port} in the place of our own"


def _original_destination(taken: socket.socket) -> tuple[str, int]:
    """Where a redirected connection was meant to go."""
    if taken.family == socket.AF_INET6:
        found = taken.getsockopt(socket.IPPROTO_IPV6, _ORIGINAL_DESTINATION, 28)
        return str(ipaddress.ip_address(found[8:24])), int(struct.unpack("!H", found[2:4])[0])
    found = taken.getsockopt(socket.IPPROTO_IP, _ORIGINAL_DESTINATION, 16)
    return str(ipaddress.ip_address(found[4:8])), int(struct.unpack("!H", found[2:4])[0])


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
