"""Cluster IPs: each Service that is not headless has one, and keeps it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from pilotfish.config.kubernetes import Service
from pilotfish.model import ObjectRef, Problem
from pilotfish.node.store import Stored

CLUSTER_IPS = IPv4Network("10.96.0.0/16")
DNS_ADDRESS = "10.96.0.10"
"""Where a pod's resolv.conf points, as in a Kubernetes cluster; captured by the DNS rules."""
_RESERVED = frozenset({"10.96.0.0", "10.96.0.1", DNS_ADDRESS, "10.96.255.255"})


def allocate(
    services: Iterable[Stored], held: Mapping[ObjectRef, str]
) -> tuple[Mapping[ObjectRef, str], tuple[Problem, ...]]:
    """Each Service's cluster IP: the one it asks for, else the one it holds, else a free one that its name chooses (so
    that it is the same each time). A Service that can't have what it asks for is not in the answer."""
    stored = tuple(services)
    chosen: dict[ObjectRef, str] = {}
    taken: dict[str, ObjectRef] = {}
    problems = []
    for asked, service in ((_asked(s), s) for s in stored):
        if not asked:
            continue
        problem = _refusal(service, asked, taken)
        if problem:
            problems.append(problem)
        else:
            chosen[service.ref] = asked
            taken[asked] = service.ref
    for service in sorted(stored, key=lambda s: s.ref not in held):
        if _wants_any(service):
            address = held.get(service.ref, "")
            if not address or address in taken:
                address = _free(service.ref, taken)
            chosen[service.ref] = address
            taken[address] = service.ref
    return chosen, tuple(problems)


def _asked(stored: Stored) -> str:
    """The address that the manifest names; "" for none and for a headless Service."""
    resource = stored.manifest.resource
    if not isinstance(resource, Service) or resource.spec.type == "ExternalName":
        return ""
    return "" if resource.spec.cluster_ip == "None" else resource.spec.cluster_ip


def _wants_any(stored: Stored) -> bool:
    resource = stored.manifest.resource
    return isinstance(resource, Service) and resource.spec.type != "ExternalName" and not resource.spec.cluster_ip


def _refusal(service: Stored, asked: str, taken: Mapping[str, ObjectRef]) -> Problem | None:
    reason, why = "", ""
    try:
        inside = IPv4Address(asked) in CLUSTER_IPS
    except AddressValueError:
        inside = False
    if not inside:
        reason, why = "InvalidClusterIP", f"{asked} is not an address of {CLUSTER_IPS}"
    elif asked in _RESERVED:
        reason, why = "InvalidClusterIP", f"{asked} is reserved"
    elif asked in taken:
        reason, why = "ClusterIPConflict", f"{asked} belongs to {taken[asked]}"
    if not reason:
        return None
    message = f"the Service is not used: {why}; leave clusterIP out, or name a free one"
    return Problem(service.ref, "spec.clusterIP", reason, message, source=service.manifest.source)


def _free(ref: ObjectRef, taken: Mapping[str, ObjectRef]) -> str:
    digest = hashlib.sha256(f"{ref.namespace}/{ref.name}".encode()).digest()
    start = int.from_bytes(digest[:4])
    size = CLUSTER_IPS.num_addresses
    for offset in range(size):
        address = str(CLUSTER_IPS[(start + offset) % size])
        if address not in taken and address not in _RESERVED:
            return address
    raise ValueError(f"no free address is left in {CLUSTER_IPS}")
