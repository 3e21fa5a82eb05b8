"""What goes past a pod's sidecar because the pod asks for that: its author's wish, and worth knowing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pilotfish.inject.annotations import PREFIX
from pilotfish.model import ObjectRef, Problem, Severity, Source

_OUTBOUND = "goes past the sidecar: no rule of the mesh routes it, and the node balances what a Service is sent"
_INBOUND = "comes past the sidecar: no policy, access log or metric of the mesh knows of it"


def describe_past(annotations: Mapping[str, str], workload: ObjectRef, source: Source | None) -> tuple[Problem, ...]:
    """One for each annotation that leaves traffic uncaptured."""
    values = {name.removeprefix(PREFIX): _split(text) for name, text in annotations.items() if name.startswith(PREFIX)}
    return tuple(
        Problem(workload, f"metadata.annotations[{PREFIX}{name}]", "NotCaptured", message, Severity.INFO, source)
        for name, message in _messages(values)
    )


def _messages(values: Mapping[str, tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    for name, what, then in (
        ("excludeOutboundPorts", "what is sent to port {}", _OUTBOUND),
        ("excludeOutboundIPRanges", "what is sent to {}", _OUTBOUND),
        ("excludeInterfaces", "what is sent by {}", _OUTBOUND),
        ("excludeInboundPorts", "what is sent to the pod's port {}", _INBOUND),
    ):
        if listed := values.get(name):
            yield name, f"{what.format(', '.join(listed))} {then}"
    ports = tuple(f"port {port}" for port in values.get("includeOutboundPorts", ()))
    for name, more, whom, then in (
        ("includeOutboundIPRanges", ports, "", _OUTBOUND),
        ("includeInboundPorts", (), " the pod", _INBOUND),
    ):
        if (found := values.get(name)) is not None and "*" not in found:
            but = f", but not to {', '.join((*found, *more))}," if found or more else ""
            yield name, f"what is sent{' to' if whom else ''}{whom}{but} {then}"


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
