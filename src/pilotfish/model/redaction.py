"""Documents as people may see them: a Secret's values are left out.

What is compared stays comparable: a value that differs from `other`'s is called so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pilotfish.model.private import REDACTED

_VALUES: Final = ("data", "stringData")
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""kubectl's annotation with the whole object as it was applied."""


def redacted(document: Mapping[str, object], other: Mapping[str, object] | None = None) -> dict[str, object]:
    """`other`: the same object at another time; None where there is nothing to compare with."""
    shown = dict(document)
    if document.get("kind") != "Secret" or document.get("apiVersion") != "v1":
        return shown
    for name in _VALUES:
        if name in document:
            shown[name] = _masked(document[name], other.get(name) if other is not None else document[name])
    metadata = document.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    if isinstance(metadata, Mapping) and isinstance(annotations, Mapping) and _LAST_APPLIED in annotations:
        shown["metadata"] = {**metadata, "annotations": {**annotations, _LAST_APPLIED: REDACTED}}
    return shown


def _masked(values: object, others: object) -> object:
    if not isinstance(values, Mapping):
        return REDACTED if values else values
    known = others if isinstance(others, Mapping) else {}
    return {key: REDACTED if known.get(key) == value else f"{REDACTED}, another" for key, value in values.items()}
