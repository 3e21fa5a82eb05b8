"""Names that mean a host to clients and none to Istio's kinds, which take what has a dot as it stands.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#Destination
"""

from __future__ import annotations

from typing import Final

from pilotfish.derive import Reads, query
from pilotfish.mesh.registry.external_names import stands_for
from pilotfish.mesh.registry.services import all_hosts, service
from pilotfish.model.kinds import SERVICE
from pilotfish.model.wellknown import CLUSTER_DOMAIN, SERVICE_DOMAIN

_SHORTER: Final = (".svc", ".svc." + CLUSTER_DOMAIN.partition(".")[0], "")
"""What may stand after NAME.NAMESPACE in a pod, whose search domains complete it."""


@query
def aliased(db: Reads, host: str) -> str:
    """The whole host of the Service that pods call so, such as `calculator.vm`; "" for a host that is no such alias."""
    for ending in _SHORTER:
        short = host.removesuffix(ending)
        if host.endswith(ending) and short.count(".") == 1:
            whole = f"{short}.{SERVICE_DOMAIN}"
            found = service(db, whole)
            is_meant = stands_for(db, whole) != whole if found is None else found.ref.kind is SERVICE
            return whole if is_meant and whole != host else ""
    return ""


@query
def is_pods_name(db: Reads, host: str) -> bool:
    """Whether a pod of a headless Service may have the name: `web-0.store.vm.svc.cluster.local`."""
    found = service(db, host.partition(".")[2])
    return found is not None and found.headless


@query(index=True)
def covers_some(db: Reads, wildcard: str) -> bool:
    """Whether a wildcard matches a host of the mesh."""
    return any(host.endswith(wildcard[1:]) for host in all_hosts(db))
