"""Who sees an object: the namespaces of its `exportTo`.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#VirtualService
"""

from __future__ import annotations

Audience = frozenset[str] | None
"""Namespaces; None is all of them."""


def audience_of(export_to: tuple[str, ...], default: tuple[str, ...], namespace: str) -> Audience:
    """`.` is the object's own namespace, `~` none, `*` all, which is also what is meant where nothing is said.

    `default`: the mesh's, for an object that says nothing.
    """
    stated = export_to or default
    if not stated or "*" in stated:
        return None
    return frozenset(namespace if name == "." else name for name in stated if name != "~")


def is_seen(audience: Audience, namespace: str) -> bool:
    return audience is None or namespace in audience


def rank(audience: Audience, owner: str, reader: str) -> int:
    """Of several objects that a namespace sees and that claim one thing, its own come first, unless they are for all;
    then those exported to it by name. Source: Istio's PushContext, servicesExportedToNamespace and
    VirtualServicesForGateway."""
    return 2 if audience is None else int(owner != reader)
