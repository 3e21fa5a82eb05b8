"""Who sees an object: the namespaces of its `exportTo`.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#VirtualService
"""

from __future__ import annotations

Audience = frozenset[str] | None
"""Namespaces; None is all of them."""


def audience_of(export_to: tuple[str, ...], namespace: str) -> Audience:
    """`.` is the object's own namespace, `~` none, `*` all, which is also what is meant where nothing is said."""
    if not export_to or "*" in export_to:
        return None
    return frozenset(namespace if name == "." else name for name in export_to if name != "~")


def is_seen(audience: Audience, namespace: str) -> bool:
    return audience is None or namespace in audience
