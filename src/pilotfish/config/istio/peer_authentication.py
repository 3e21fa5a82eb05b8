"""PeerAuthentication: which connections a workload takes.

Source: https://istio.io/latest/docs/reference/config/security/peer_authentication/
"""

from __future__ import annotations

from typing import Literal

from pilotfish.config.istio.selector import WorkloadSelector
from pilotfish.config.kubernetes import Resource, Struct
from pilotfish.model import kinds


class PeerMutualTLS(Struct):
    mode: Literal["UNSET", "DISABLE", "PERMISSIVE", "STRICT"] = "UNSET"
    """UNSET is what the namespace's, else the mesh's own says, and PERMISSIVE where these say nothing."""


class PeerAuthenticationSpec(Struct):
    selector: WorkloadSelector | None = None
    """In the root namespace one with a selector has no effect, as in Istio."""
    mtls: PeerMutualTLS = PeerMutualTLS()
    port_level_mtls: dict[str, PeerMutualTLS] | None = None
    """By the port that the app listens on. Only with a selector."""


class PeerAuthentication(Resource):
    kind = kinds.PEER_AUTHENTICATION
    spec: PeerAuthenticationSpec = PeerAuthenticationSpec()
