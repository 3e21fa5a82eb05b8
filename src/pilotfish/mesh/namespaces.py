"""Namespaces by their labels, as a meshConfig selects them."""

from __future__ import annotations

from collections.abc import Mapping

from pilotfish.config.mesh import LabelSelector, LabelSelectorRequirement


def namespace_labels(name: str, stated: Mapping[str, str]) -> Mapping[str, str]:
    """With the one that each has of itself."""
    return {**stated, "kubernetes.io/metadata.name": name}


def fits(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    return selector.match_labels.items() <= labels.items() and all(
        _holds(requirement, labels.get(requirement.key)) for requirement in selector.match_expressions
    )


def _holds(requirement: LabelSelectorRequirement, value: str | None) -> bool:
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
