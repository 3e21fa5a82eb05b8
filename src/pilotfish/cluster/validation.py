"""Whether an object may be stored: what `pilotfish validate` finds of it, in the same words.

An object whose spec stays as it is may always be changed: a finalizer is taken off, a status written, a label set,
though its spec is one that nobody would let in today.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from pilotfish.cluster.review import Answer, Review
from pilotfish.config.piece import RawObject, read_object
from pilotfish.model import Problem, Severity
from pilotfish.model.kinds import kind_named

_UNNAMED: Final = "unnamed"


def judge(review: Review) -> Answer:
    if review.object is None or review.subresource or not _is_news(review):
        return Answer()
    piece = read_object(RawObject(_named(review.object, review), "", review.namespace or "default"))
    errors = tuple(describe(problem) for problem in piece.problems if problem.severity is Severity.ERROR)
    warnings = tuple(describe(problem) for problem in piece.problems if problem.severity is Severity.WARNING)
    if kind_named(review.kind, review.group).without_effect is not None:
        # It has a definition so that it can be kept, by whoever comes from a mesh where it has an effect.
        return Answer(warnings=(*errors, *warnings))
    return Answer.refuse(errors, warnings) if errors else Answer(warnings=warnings)


def _is_news(review: Review) -> bool:
    if review.operation not in ("CREATE", "UPDATE") or review.object is None:
        return False
    if (review.object.get("metadata") or {}).get("deletionTimestamp"):
        return False
    return review.old_object is None or review.old_object.get("spec") != review.object.get("spec")


def _named(value: Mapping[str, Any], review: Review) -> dict[str, Any]:
    """With the name that the API server will give it, without what it keeps for itself, and without the status: that
    is another subresource, and what a leader has written there is not to be held against who changes the rest."""
    metadata = {name: item for name, item in (value.get("metadata") or {}).items() if name != "managedFields"}
    if not metadata.get("name"):
        metadata["name"] = review.name or f"{metadata.get('generateName', '')}{_UNNAMED}"
    rest = {name: item for name, item in value.items() if name != "status"}
    return {**rest, "metadata": metadata}


def describe(problem: Problem) -> str:
    """Without a file: whoever is told has it at hand."""
    return str(replace(problem, source=None))
