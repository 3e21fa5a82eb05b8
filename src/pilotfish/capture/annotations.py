"""A pod's capture, from its annotations and its sidecar's environment.

Source: istio.io/latest/docs/reference/config/annotations, and what Istio's CNI plugin makes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from pilotfish.capture import values
from pilotfish.capture.spec import ALL, CaptureSpec, Mode
from pilotfish.capture.values import all_or_list_of, list_of
from pilotfish.model import ObjectRef, Problem, Severity, Source

PREFIX = "traffic.sidecar.istio.io/"
MODE = "sidecar.istio.io/interceptionMode"
STATUS_PORT = "status.sidecar.istio.io/port"
SIDECAR_PORTS = (15021, 15090)
"""Inbound ports of the sidecar itself, beside the status port: readiness and metrics."""

_FIELDS: Mapping[str, tuple[str, Callable[[object], Any]]] = MappingProxyType(
    {
        f"{PREFIX}includeInboundPorts": ("inbound_ports_include", all_or_list_of(values.parse_port)),
        f"{PREFIX}excludeInboundPorts": ("inbound_ports_exclude", list_of(values.parse_port)),
        f"{PREFIX}includeOutboundPorts": ("outbound_ports_include", list_of(values.parse_port)),
        f"{PREFIX}excludeOutboundPorts": ("outbound_ports_exclude", list_of(values.parse_port)),
        f"{PREFIX}includeOutboundIPRanges": ("outbound_ip_ranges_include", all_or_list_of(values.parse_network)),
        f"{PREFIX}excludeOutboundIPRanges": ("outbound_ip_ranges_exclude", list_of(values.parse_network)),
        f"{PREFIX}excludeInterfaces": ("exclude_interfaces", list_of(values.parse_interface)),
        f"{PREFIX}kubevirtInterfaces": ("reroute_virtual_interfaces", list_of(values.parse_interface)),
        "istio.io/reroute-virtual-interfaces": ("reroute_virtual_interfaces", list_of(values.parse_interface)),
        STATUS_PORT: ("status_port", values.parse_port),
    }
)


def spec_from_annotations(
    annotations: Mapping[str, str],
    *,
    environment: Mapping[str, str] = MappingProxyType({}),
    uid: int | None = None,
    gid: int | None = None,
    enable_ipv6: bool = False,
    ref: ObjectRef | None = None,
    source: Source | None = None,
) -> tuple[CaptureSpec | None, tuple[Problem, ...]]:
    """What a pod's annotations ask for; without any, all inbound ports and all outbound addresses.

    `environment`, `uid`, `gid`: the sidecar's (0 and None are 1337). None for a pod that captures nothing
    (`interceptionMode: NONE`), and where a Problem is an error: a pod must not run with less captured than it asks for.
    """
    fields, problems = _read(annotations)
    mode = annotations.get(MODE, Mode.REDIRECT)
    if mode not in (*Mode, "NONE"):
        problems.append((MODE, "InvalidValue", f"{mode!r} is none of REDIRECT, TPROXY, NONE; the pod is not started"))
    found = tuple(_problem(ref, source, *problem) for problem in problems)
    if any(problem.severity is Severity.ERROR for problem in found) or mode == "NONE":
        return None, found
    status_port = fields.pop("status_port", 15020)
    excluded = (*fields.pop("inbound_ports_exclude", ()), status_port, *SIDECAR_PORTS)
    defaults = {
        "inbound_ports_include": ALL,
        "outbound_ip_ranges_include": ALL,
        "outbound_ports_exclude": (status_port,),
    }
    captures_dns = _is_true(environment.get("ISTIO_META_DNS_CAPTURE", ""))
    spec = CaptureSpec(
        **(defaults | fields),
        inbound_ports_exclude=tuple(dict.fromkeys(excluded)),
        proxy_uids=(uid or 1337,),
        proxy_gids=(gid or 1337,),
        mode=Mode(mode),
        redirect_dns=captures_dns,
        capture_all_dns=captures_dns,
        drop_invalid=_is_true(environment.get("INVALID_DROP", "")),
        enable_ipv6=enable_ipv6,
    )
    return spec, found


_Found = tuple[str, str, str]


def _read(annotations: Mapping[str, str]) -> tuple[dict[str, Any], list[_Found]]:
    """Fields of CaptureSpec, and (annotation, reason, message) for those that are wrong."""
    fields: dict[str, Any] = {}
    problems = []
    for name, text in annotations.items():
        if name in _FIELDS:
            field, parse = _FIELDS[name]
            try:
                fields[field] = parse(text)
            except ValueError as error:
                problems.append((name, "InvalidValue", f"{error}; the pod is not started until it is corrected"))
        elif name.startswith(PREFIX):
            problems.append((name, "UnknownField", _unknown(name)))
    return fields, problems


def _unknown(name: str) -> str:
    close = get_close_matches(name, _FIELDS, 1)
    return f"there is no such annotation, it has no effect; {f'did you mean {close[0]}?' if close else 'remove it'}"


def _problem(ref: ObjectRef | None, source: Source | None, name: str, reason: str, message: str) -> Problem:
    severity = Severity.WARNING if reason == "UnknownField" else Severity.ERROR
    return Problem(ref, f'metadata.annotations["{name}"]', reason, message, severity, source)


def _is_true(text: str) -> bool:
    """As Go's strconv.ParseBool."""
    return text in ("1", "t", "T", "true", "TRUE", "True")
