"""What a packet has where a rule asks, in words, for the reason of a match or no match."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

from pilotfish.capture.packet import Packet

Shown = Callable[[Packet], str]


def show_port(name: str, attribute: str) -> Shown:
    def shown(packet: Packet) -> str:
        port = getattr(packet, attribute)
        return f"the {name} port is {'a free one' if port is None else port}"

    return shown


def show_endpoint(name: str, attribute: str) -> Shown:
    def shown(packet: Packet) -> str:
        number = getattr(packet, attribute)
        return (
            f"the {name} is not given, so none of loopback's"
            if number is None
            else f"the {name} is {_address(packet, number)}"
        )

    return shown


def _address(packet: Packet, number: int) -> str:
    return str(ip_address(number.to_bytes(4 if packet.version == 4 else 16, "big")))


def show_interface(side: str, attribute: str) -> Shown:
    def shown(packet: Packet) -> str:
        name = getattr(packet, attribute)
        return f"the {side} interface is {'not known' if name is None else name or 'none'}"

    return shown


def show_owner(kind: str, attribute: str) -> Shown:
    def shown(packet: Packet) -> str:
        owner = getattr(packet, attribute)
        return "there is no socket here, so no owner" if owner is None else f"the {kind} is {owner}"

    return shown
