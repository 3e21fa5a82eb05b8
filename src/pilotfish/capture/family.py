"""What differs between IPv4 and IPv6: the addresses in the rules."""

from __future__ import annotations

from dataclasses import dataclass

from pilotfish.capture.spec import ALL, CaptureSpec, Family
from pilotfish.model.wellknown import INBOUND_BIND_IPV4, INBOUND_BIND_IPV6

_LOOPBACK_V6 = "::1/128"
_PASSTHROUGH = {4: f"{INBOUND_BIND_IPV4}/32", 6: f"{INBOUND_BIND_IPV6}/128"}
"""Source of the proxy's own connections to its app."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """One family's part of a CaptureSpec, as text for rules."""

    loopback: str
    passthrough: str
    include: tuple[str, ...]
    """Nothing where everything is included."""
    exclude: tuple[str, ...]
    dns: tuple[str, ...]
    """For each DNS server to be captured the match `-d ADDRESS`; "" for one that matches them all."""

    @classmethod
    def of(cls, spec: CaptureSpec, family: Family) -> Addresses:
        include = spec.outbound_ip_ranges_include
        return cls(
            loopback=str(spec.host_ipv4_loopback_cidr) if family == 4 else _LOOPBACK_V6,
            passthrough=_PASSTHROUGH[family],
            include=() if include == ALL else tuple(str(n) for n in include if n.version == family),
            exclude=tuple(str(n) for n in spec.outbound_ip_ranges_exclude if n.version == family),
            dns=_dns(spec, family),
        )


def dns_servers(families: tuple[Addresses, ...]) -> tuple[str, ...]:
    """Of all families; "" alone where all servers are captured, as that rule has no address."""
    return tuple(dict.fromkeys(server for addresses in families for server in addresses.dns))


def _dns(spec: CaptureSpec, family: Family) -> tuple[str, ...]:
    if not spec.captures_dns:
        return ()
    if spec.capture_all_dns:
        return ("",)
    return tuple(str(server) for server in (spec.dns_servers_v4 if family == 4 else spec.dns_servers_v6))
