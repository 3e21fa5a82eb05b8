"""The objects of a kind by namespace, the oldest first: of several that say the same thing, the oldest counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from pilotfish.derive import Reads
from pilotfish.mesh.inputs import refs
from pilotfish.model import Kind, ObjectRef

T = TypeVar("T")


def by_namespace(
    db: Reads, kind: Kind, about: Callable[[Reads, ObjectRef], tuple[str, T] | None]
) -> Mapping[str, tuple[tuple[ObjectRef, T], ...]]:
    """`about`: when an object was made, and what is wanted of it; None leaves it out. Of one age by name."""
    found = ((ref, known) for ref in refs(db, kind) if (known := about(db, ref)) is not None)
    grouped: dict[str, list[tuple[ObjectRef, T]]] = {}
    for ref, (_, wanted) in sorted(found, key=lambda each: (each[1][0], each[0])):
        grouped.setdefault(ref.namespace, []).append((ref, wanted))
    return {namespace: tuple(listed) for namespace, listed in grouped.items()}
