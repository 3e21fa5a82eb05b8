"""What a proxy may see."""

from __future__ import annotations

from dataclasses import dataclass

from pilotfish.model import Proxy


@dataclass(frozen=True, slots=True)
class Scope:
    """The key of everything outbound: proxies of one scope share the same resources, byte for byte.

    For now the namespace alone decides; Sidecar and exportTo will add to it.
    """

    namespace: str

    @classmethod
    def of(cls, proxy: Proxy) -> Scope:
        return cls(proxy.namespace)
