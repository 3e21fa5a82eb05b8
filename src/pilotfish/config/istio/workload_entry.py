"""WorkloadEntry.

Source: https://istio.io/latest/docs/reference/config/networking/workload-entry/
"""

from __future__ import annotations

from pilotfish.config.kubernetes import Resource, Struct
from pilotfish.model import kinds


class WorkloadEntrySpec(Struct):
    address: str = ""
    """A name needs a ServiceEntry of `resolution` DNS; `unix:///PATH`, in the client's pod, one of STATIC."""
    ports: dict[str, int] = {}
    labels: dict[str, str] = {}
    locality: str = ""
    network: str = ""
    """There is one, and all of it is reached. It is the label `topology.istio.io/network`, by which endpoints may be
    near."""
    weight: int = 0
    service_account: str = ""
    """As whom its proxy shows itself. One that names it is called over mutual TLS, as with the label
    `security.istio.io/tlsMode: istio`."""


class WorkloadEntryCondition(Struct):
    type: str = ""
    status: str = ""


class WorkloadEntryStatus(Struct):
    conditions: tuple[WorkloadEntryCondition, ...] = ()


class WorkloadEntry(Resource):
    kind = kinds.WORKLOAD_ENTRY
    spec: WorkloadEntrySpec
    status: WorkloadEntryStatus = WorkloadEntryStatus()
