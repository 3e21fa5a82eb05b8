"""Typed resources → services, endpoints, policies and bindings, each a `derive` query.

    inputs ─┬─ workloads ──┬─ endpoints ─┬─▶ names      DNS
            ├─ services ───┤             ├─▶ outbound   which listener serves which port of which service
            ├─ policies ───┤             ├─▶ inbound    which ports of a workload are services'
            └─ routing ────┘             └─▶ problems   what is wrong between objects

`inputs` holds the tables; every read of a user's object goes through `inputs.effective`. Index queries (`index=True`)
find things; the narrow ones beside them say what one thing is, so that a change re-runs no more than what it touches.
"""

from pilotfish.mesh.endpoints import endpoints
from pilotfish.mesh.services import service, services

__all__ = ["endpoints", "service", "services"]
