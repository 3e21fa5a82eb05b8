"""Namespaces by their labels, as a meshConfig selects them."""

from __future__ import annotations

from collections.abc import Mapping


def namespace_labels(name: str, stated: Mapping[str, str]) -> Mapping[str, str]:
    """With the one that each has of itself."""
    return {**stated, "kubernetes.io/metadata.name": name}
