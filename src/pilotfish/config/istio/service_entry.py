"""ServiceEntry.

Source: https://istio.io/latest/docs/reference/config/networking/service-entry/
"""

from __future__ import annotations

from typing import Literal

from pilotfish.config.istio.workload_entry import WorkloadEntrySpec
from pilotfish.config.kubernetes import Resource, Struct
from pilotfish.model import kinds


class ServiceEntryPort(Struct):
    number: int
    name: str
    protocol: str = ""
    target_port: int = 0


class WorkloadSelector(Struct):
    labels: dict[str, str] = {}


class ServiceEntrySpec(Struct):
    hosts: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    """A network needs `resolution` NONE or STATIC."""
    ports: tuple[ServiceEntryPort, ...] = ()
    location: Literal["MESH_EXTERNAL", "MESH_INTERNAL"] = "MESH_EXTERNAL"
    resolution: Literal["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"] = "NONE"
    """DYNAMIC_DNS is for wildcards, and looks up whatever name the request or the TLS handshake says."""
    endpoints: tuple[WorkloadEntrySpec, ...] = ()
    """Not with `resolution` NONE; one at most with DNS_ROUND_ROBIN."""
    workload_selector: WorkloadSelector | None = None
    """Pods and WorkloadEntries of its namespace in the place of `endpoints`."""
    subject_alt_names: tuple[str, ...] = ()
    export_to: tuple[str, ...] = ()


class ServiceEntryAddress(Struct):
    """One that a host was given which states none."""

    value: str = ""
    host: str = ""


class ServiceEntryStatus(Struct):
    """Written in a cluster, so that all replicas of discovery give a host the same addresses."""

    addresses: tuple[ServiceEntryAddress, ...] = ()


class ServiceEntry(Resource):
    kind = kinds.SERVICE_ENTRY
    spec: ServiceEntrySpec
    status: ServiceEntryStatus = ServiceEntryStatus()
