"""Whose Envoy a pod's traffic goes through: one of its own, or that of its machine.

    pilotfish.io/proxy: node      of a pod, or of its Namespace for all of its pods
    pilotfish.io/proxy: sidecar   the same, where the mesh says node

A mesh says it in `defaultConfig.proxyMetadata.PILOTFISH_PROXY`.
"""

from __future__ import annotations

from typing import Final

PROXY: Final = "pilotfish.io/proxy"
NODE: Final = "node"
SIDECAR: Final = "sidecar"
OF_MESH: Final = "PILOTFISH_PROXY"
"""In `proxyMetadata`."""
