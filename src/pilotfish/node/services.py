"""Cluster IPs: each Service that is not headless has one, and keeps it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv4Network

from pilotfish.config.kubernetes import Service
from pilotfish.model import ObjectRef, Problem
from pilotfish.node.store import Stored

CLUSTER_IPS = IPv4Network("10.96.0.0/16")
"""Where nobody says otherwise."""
_DNS = 10


def dns_address(network: IPv4Network) -> str:
    """Where a pod's resolv.conf points, as in a Kubernetes cluster; captured by the DNS rules. 10.96.0.10."""
    return str(network[_DNS])


def allocate(
    services: Iterable[Stored], held: Mapping[ObjectRef, str], network: IPv4Network = CLUSTER_IPS
) -> tuple[Mapping[ObjectRef, str], tuple[Problem, ...]]:
    """Each Service's cluster IP: the one it asks for, else the one it holds, else a free one of `network` that its name
    chooses (so that it is the same each time). A Service that can't have what it asks for is not in the answer."""
    stored = tuple(services)
    chosen: dict[ObjectRef, str] = {}
    taken: dict[str, ObjectRef] = {}
    problems = []
    for asked, service in ((_asked(s), s) for s in stored):
        if not asked:
            continue
        problem = _refusal(service, asked, taken, network)
        if problem:
            problems.append(problem)
        else:
            chosen[service.ref] = asked
            taken[asked] = service.ref
    for service in sorted(stored, key=lambda s: s.ref not in held):
        if _wants_any(service):
            address = held.get(service.ref, "")
            if not address or address in taken:
                address = _free(service.ref, taken, network)
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


def _refusal(service: Stored, asked: str, taken: Mapping[str, ObjectRef], network: IPv4Network) -> Problem | None:
    reason, why = "", ""
    try:
        inside = IPv4Address(asked) in network
    except AddressValueError:
        inside = False
    if not inside:
        reason, why = "InvalidClusterIP", f"{asked} is not an address of {network}"
    elif asked in _reserved(network):
        reason, why = "InvalidClusterIP", f"{asked} is reserved"
    elif asked in taken:
        reason, why = "ClusterIPConflict", f"{asked} belongs to {taken[asked]}"
    if not reason:
        return None
    message = f"the Service is not used: {why}; leave clusterIP out, or name a free one"
    return Problem(service.ref, "spec.clusterIP", reason, message, source=service.manifest.source)


def _reserved(network: IPv4Network) -> frozenset[str]:
    """The first and the last, the API server's and the DNS server's."""
    return frozenset(str(network[place]) for place in (0, 1, _DNS, -1))


def _free(ref: ObjectRef, taken: Mapping[str, ObjectRef], network: IPv4Network) -> str:
    digest = hashlib.sha256(f"{ref.namespace}/{ref.name}".encode()).digest()
    start = int.from_bytes(digest[:4])
    size, reserved = network.num_addresses, _reserved(network)
    for offset in range(size):
        address = str(network[(start + offset) % size])
        if address not in taken and address not in reserved:
            return address
    raise ValueError(f"no free address is left in {network}")
