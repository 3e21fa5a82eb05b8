"""Does the app listen where its Services say? Inbound traffic comes to the pod's own address, from 127.0.0.6, or to
127.0.0.1, where the mesh says so."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address

Listener = tuple[IPv4Address | IPv6Address, int]

_LISTEN = "0A"
_LOOPBACK = IPv4Address("127.0.0.1")


def parse_proc_net(text: str) -> tuple[Listener, ...]:
    """The listening sockets in `/proc/PID/net/tcp` or `tcp6`. Source: proc_pid_net(5)."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[3] == _LISTEN:
            address, _, port = fields[1].partition(":")
            found.append((_address(address), int(port, 16)))
    return tuple(found)


def build_notes(ports: Iterable[tuple[str, int]], listeners: Iterable[Listener], to_loopback: bool) -> tuple[str, ...]:
    """What a user should know. `ports`: (`webapp.vm:8889`, target port) of each Service port that leads to the pod;
    `to_loopback`: that is where its proxy calls it."""
    heard = tuple(listeners)
    notes = []
    for service, port in ports:
        addresses = [address for address, number in heard if number == port]
        if not addresses:
            notes.append(
                f"nothing listens on port {port}, where {service} leads: requests end in connection refused (503 UF); "
                f"let the app listen there, or correct the Service's targetPort"
            )
        elif to_loopback and all(not (a == _LOOPBACK or a.is_unspecified) for a in addresses):
            notes.append(
                f"port {port} ({service}) listens on {addresses[0]} only: traffic comes to 127.0.0.1, as "
                f"meshConfig.inboundTrafficPolicy is LOCALHOST, and is refused (503 UF); let the app listen on 0.0.0.0"
            )
        elif not to_loopback and all(address.is_loopback for address in addresses):
            notes.append(
                f"port {port} ({service}) listens on {addresses[0]} only: traffic comes to the pod's own address and "
                f"is refused (503 UF); let the app listen on 0.0.0.0 or ::"
            )
    return tuple(notes)


def _address(text: str) -> IPv4Address | IPv6Address:
    """Each 32-bit word is written in the machine's order, which is little-endian on all that we run on."""
    raw = b"".join(bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8))
    address = ip_address(raw)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
