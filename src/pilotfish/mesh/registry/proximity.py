"""Which endpoints of a service are asked first, as its object says, or the namespace for all of its services.

Source: https://istio.io/latest/docs/ambient/usage/traffic-distribution/, which holds for sidecars as well, and Istio's
GetTrafficDistribution
"""

from __future__ import annotations

from typing import Final

from pilotfish.config import istio, kubernetes
from pilotfish.config.kubernetes import TRAFFIC_DISTRIBUTION
from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import resource
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import NAMESPACE
from pilotfish.model.service import Proximity

_MEANT: Final = {
    "preferclose": Proximity.ZONE,
    "prefersamezone": Proximity.ZONE,
    "prefersamenode": Proximity.NODE,
}


def proximity(db: Reads, ref: ObjectRef, source: kubernetes.Service | istio.ServiceEntry) -> Proximity | None:
    """The Service's field counts before its annotation, and that before its namespace's. None: any endpoint."""
    field = source.spec.traffic_distribution if isinstance(source, kubernetes.Service) else ""
    stated = field or _annotated(source.metadata)
    return _of_namespace(db, ref.namespace) if stated is None else _MEANT.get(stated.lower())


@query(index=True)
def _of_namespace(db: Reads, name: str) -> Proximity | None:
    found = resource(db, NAMESPACE.ref("", name), kubernetes.Namespace)
    return _MEANT.get((_annotated(found.metadata) or "").lower()) if found is not None else None


def _annotated(metadata: kubernetes.Metadata) -> str | None:
    return metadata.annotations.get(TRAFFIC_DISTRIBUTION)
