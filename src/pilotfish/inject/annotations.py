"""A pod's capture, from its annotations and its sidecar's environment.

Source: istio.io/latest/docs/reference/config/annotations, and what Istio's CNI plugin makes of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from pilotfish.capture import values
from pilotfish.capture.spec import ALL, CaptureSpec, Mode
from pilotfish.capture.values import all_or_list_of, list_of
from pilotfish.model import ObjectRef, Problem, Severity, Source
from pilotfish.model.likeness import closest
from pilotfish.model.wellknown import HEALTH_PORT, PROMETHEUS_PORT, PROXY_GID, PROXY_UID, STATUS_PORT

PREFIX = "traffic.sidecar.istio.io/"
MODE = "sidecar.istio.io/interceptionMode"
STATUS_PORT_ANNOTATION = "status.sidecar.istio.io/port"
SIDECAR_PORTS = (HEALTH_PORT, PROMETHEUS_PORT)
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
        STATUS_PORT_ANNOTATION: ("status_port", values.parse_port),
    }
)


EFFECTIVE = (*_FIELDS, MODE)

_ENVIRONMENT: Mapping[str, tuple[str, Callable[[object], Any]]] = MappingProxyType(
    {
        "INVALID_DROP": ("drop_invalid", values.parse_bool),
        "ISTIO_META_DNS_CAPTURE": ("redirect_dns", values.parse_bool),
        "ISTIO_OUTBOUND_IPV4_LOOPBACK_CIDR": ("host_ipv4_loopback_cidr", values.parse_network_v4),
        "ISTIO_OUTBOUND_OWNER_GROUPS": ("owner_groups_include", all_or_list_of(values.parse_group)),
        "ISTIO_OUTBOUND_OWNER_GROUPS_EXCLUDE": ("owner_groups_exclude", list_of(values.parse_group)),
    }
)
"""What has no annotation: Istio takes it from the environment, which `proxyMetadata` sets."""


def spec_from_annotations(
    annotations: Mapping[str, str],
    *,
    mode: str = Mode.REDIRECT,
    status_port: int = STATUS_PORT,
    environment: Mapping[str, str] = MappingProxyType({}),
    uid: int | None = None,
    gid: int | None = None,
    enable_ipv6: bool = False,
    ref: ObjectRef | None = None,
    source: Source | None = None,
) -> tuple[CaptureSpec | None, tuple[Problem, ...]]:
    """What a pod's annotations ask for; without any, all inbound ports and all outbound addresses.

    `mode` (REDIRECT, TPROXY, NONE), `status_port`: the mesh's, where the annotation says nothing.
    `environment`, `uid`, `gid`: the sidecar's (0 and None are 1337). None for a pod that captures nothing
    (`interceptionMode: NONE`), and where a Problem is an error: a pod must not run with less captured than it asks for.
    """
    fields, problems = _read(annotations)
    more, wrong = _read_environment(environment)
    problems += wrong
    mode = annotations.get(MODE, mode)
    if mode not in (*Mode, "NONE"):
        problems.append((MODE, "InvalidValue", f"{mode!r} is none of REDIRECT, TPROXY, NONE; the pod is not started"))
    found = tuple(_problem(ref, source, *problem) for problem in problems)
    if any(problem.severity is Severity.ERROR for problem in found) or mode == "NONE":
        return None, found
    status_port = fields.pop("status_port", status_port)
    excluded = (*fields.pop("inbound_ports_exclude", ()), status_port, *SIDECAR_PORTS)
    defaults = {
        "inbound_ports_include": ALL,
        "outbound_ip_ranges_include": ALL,
        "outbound_ports_exclude": (status_port,),
    }
    spec = CaptureSpec(
        **(defaults | more | fields),
        inbound_ports_exclude=tuple(dict.fromkeys(excluded)),
        proxy_uids=(uid or PROXY_UID,),
        proxy_gids=(gid or PROXY_GID,),
        mode=Mode(mode),
        capture_all_dns=bool(more.get("redirect_dns")),
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


def _read_environment(environment: Mapping[str, str]) -> tuple[dict[str, Any], list[_Found]]:
    """The same of variables; an empty one is none."""
    fields: dict[str, Any] = {}
    problems = []
    for name, (field, parse) in _ENVIRONMENT.items():
        try:
            if environment.get(name):
                fields[field] = parse(environment[name])
        except ValueError as error:
            message = f"proxyMetadata {name}: {error}; the pod is not started until it is corrected"
            problems.append(("proxy.istio.io/config", "InvalidValue", message))
    return fields, problems


def _unknown(name: str) -> str:
    close = closest(name, _FIELDS)
    return f"there is no such annotation, it has no effect; {f'did you mean {close}?' if close else 'remove it'}"


def _problem(ref: ObjectRef | None, source: Source | None, name: str, reason: str, message: str) -> Problem:
    severity = Severity.WARNING if reason == "UnknownField" else Severity.ERROR
    return Problem(ref, f"metadata.annotations[{name}]", reason, message, severity, source)
