"""What a proxy may see, and who sees the same.

Everything outbound is kept by scope, not by proxy. Each collection asks for the *widest* scope that sees the same of it
(`visible`, `policies.policed`): with a thousand namespaces that all see everything, there is one set of listeners.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pilotfish.model import ObjectRef, Proxy


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """Proxies of one scope share the same outbound resources, byte for byte."""

    namespace: str = ""
    """Whose; "" is nobody's: what is the same for every namespace."""

    selected_by: tuple[ObjectRef, ...] = ()
    """The DestinationRules that are for some workloads of the namespace only, and for these, the oldest first."""

    @classmethod
    def of(cls, proxy: Proxy, selected_by: tuple[ObjectRef, ...] = ()) -> Scope:
        return cls(proxy.namespace, selected_by)


EVERYONE: Final = Scope()


def visible(scope: Scope) -> Scope:
    """The widest scope that sees the same hosts: no object is hidden from anyone."""
    return EVERYONE
