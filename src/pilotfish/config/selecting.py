"""Whether labels are those that a selector asks for.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

from __future__ import annotations

from collections.abc import Mapping

from pilotfish.config.mesh import LabelSelector, LabelSelectorRequirement


def fits(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """All of it holds; an empty selector fits everything."""
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
