"""A capture configuration as a document: fields of CaptureSpec by their own names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from pilotfish.capture import values
from pilotfish.capture.spec import ALL, CaptureSpec
from pilotfish.capture.values import all_or_list_of, list_of
from pilotfish.model import Problem, Severity

FIELDS: Mapping[str, Callable[[object], Any]] = MappingProxyType(
    {
        "proxy_port": values.parse_port,
        "inbound_capture_port": values.parse_port,
        "inbound_tunnel_port": values.parse_port,
        "proxy_uids": list_of(values.parse_id),
        "proxy_gids": list_of(values.parse_id),
        "mode": values.parse_mode,
        "inbound_ports_include": all_or_list_of(values.parse_port),
        "inbound_ports_exclude": list_of(values.parse_port),
        "outbound_ip_ranges_include": all_or_list_of(values.parse_network),
        "outbound_ip_ranges_exclude": list_of(values.parse_network),
        "outbound_ports_include": list_of(values.parse_port),
        "outbound_ports_exclude": list_of(values.parse_port),
        "exclude_interfaces": list_of(values.parse_interface),
        "reroute_virtual_interfaces": list_of(values.parse_interface),
        "tproxy_mark": values.parse_mark,
        "tproxy_route_table": values.parse_route_table,
        "redirect_dns": values.parse_flag,
        "capture_all_dns": values.parse_flag,
        "dns_servers_v4": list_of(values.parse_address_v4),
        "dns_servers_v6": list_of(values.parse_address_v6),
        "drop_invalid": values.parse_flag,
        "owner_groups_include": all_or_list_of(values.parse_group),
        "owner_groups_exclude": list_of(values.parse_group),
        "host_ipv4_loopback_cidr": values.parse_network_v4,
        "enable_ipv6": values.parse_flag,
    }
)
"""How each field is read. Missing ones keep their default."""


def parse_spec(document: object) -> tuple[CaptureSpec | None, tuple[Problem, ...]]:
    """The specification, unless a Problem is an error: with malformed parts left out, too little would be captured."""
    if document is None:
        return CaptureSpec(), ()
    if not isinstance(document, Mapping):
        return None, (
            _problem("", "InvalidDocument", "it must be a mapping of fields to values; nothing was captured"),
        )
    fields: dict[str, Any] = {}
    problems = []
    for name, value in document.items():
        if name not in FIELDS:
            problems.append(_problem(str(name), "UnknownField", _unknown(str(name))))
            continue
        try:
            fields[name] = FIELDS[name](value)
        except ValueError as error:
            problems.append(_problem(name, "InvalidValue", f"{error}; correct it, nothing is captured until then"))
    if problems:
        return None, tuple(problems)
    spec = CaptureSpec(**fields)
    return spec, tuple(_ineffective(spec))


def _ineffective(spec: CaptureSpec) -> list[Problem]:
    """What is written, and does nothing."""
    found = []
    if spec.redirect_dns and not spec.captures_dns:
        message = "no DNS is captured; set capture_all_dns, or name servers in dns_servers_v4 or dns_servers_v6"
        found.append(_problem("redirect_dns", "NoEffect", message, Severity.WARNING))
    if spec.inbound_ports_exclude and spec.inbound_ports_include != ALL:
        message = 'it has no effect, as only listed ports are captured; leave it out, or set inbound_ports_include: "*"'
        found.append(_problem("inbound_ports_exclude", "NoEffect", message, Severity.WARNING))
    if spec.owner_groups_exclude and spec.owner_groups_include != ALL:
        message = 'it has no effect, as only listed groups are captured; leave it out, or set owner_groups_include: "*"'
        found.append(_problem("owner_groups_exclude", "NoEffect", message, Severity.WARNING))
    return found


def _unknown(name: str) -> str:
    close = get_close_matches(name, FIELDS, 1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(FIELDS)}"
    return f"there is no such field, so nothing is captured; {hint}"


def _problem(field: str, reason: str, message: str, severity: Severity = Severity.ERROR) -> Problem:
    return Problem(None, field, reason, message, severity)
