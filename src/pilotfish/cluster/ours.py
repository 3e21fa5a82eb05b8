"""How what this mesh makes in a cluster is called, and known again."""

from __future__ import annotations

from typing import Final

from pilotfish.config.injection import DEFAULT_REVISION

MANAGED_BY: Final = ("app.kubernetes.io/managed-by", "pilotfish")
"""On everything that it makes. What has another, or none, is somebody else's."""
_PART_OF: Final = ("app.kubernetes.io/part-of", "pilotfish")
_REVISION: Final = "istio.io/rev"
SHARED: Final = dict((MANAGED_BY, _PART_OF))
"""Of what all revisions have in common."""


def labels_of(revision: str) -> dict[str, str]:
    """Of what is one revision's."""
    return {**SHARED, _REVISION: revision or DEFAULT_REVISION}


def revised(name: str, revision: str) -> str:
    """`istiod`, and `istiod-canary` of a revision that has a name."""
    return f"{name}-{revision}" if revision not in ("", DEFAULT_REVISION) else name


def lease_path(namespace: str, revision: str) -> str:
    """Of the Lease by which a revision's replicas choose who leads."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{revised('pilotfish', revision)}-leader"
