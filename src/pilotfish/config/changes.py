"""What is another from one state of the objects to the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from operator import is_, ne
from typing import TypeAlias

from pilotfish.config.manifest import Manifest
from pilotfish.model import ObjectRef

Manifests: TypeAlias = Mapping[ObjectRef, Manifest]
Changes: TypeAlias = dict[ObjectRef, Manifest | None]
Differ: TypeAlias = Callable[[Manifest, Manifest], bool]


def find_changes(old: Manifests, new: Manifests, differ: Differ = ne) -> Changes:
    """What is new, different or (None) gone. `differ` is asked of two that are not the same value.

    Mostly the two are alike but for little, in the same order: then no object is looked up, of which there may be
    thousands.
    """
    if old is new:
        return {}
    if len(old) <= len(new) and all(map(is_, old, new)):
        pairs = zip(new, old.values(), new.values(), strict=False)  # what was added comes last
        found = {ref: manifest for ref, had, manifest in pairs if had is not manifest and differ(had, manifest)}
        return {**found, **dict(islice(new.items(), len(old), None))}
    return _walk(old, new, differ)


def _walk(old: Manifests, new: Manifests, differ: Differ) -> Changes:
    """The same, side by side."""
    changes: Changes = {}
    before, after = iter(old.items()), iter(new.items())
    had, has = next(before, None), next(after, None)
    while had is not None and has is not None:
        if had[0] is has[0] or had[0] == has[0]:
            if had[1] is not has[1] and differ(had[1], has[1]):
                changes[has[0]] = has[1]
            had, has = next(before, None), next(after, None)
        elif had[0] not in new:
            changes[had[0]] = None
            had = next(before, None)
        else:
            _compare(old, *has, changes, differ)
            has = next(after, None)
    while had is not None:
        if had[0] not in new:
            changes[had[0]] = None
        had = next(before, None)
    while has is not None:
        _compare(old, *has, changes, differ)
        has = next(after, None)
    return changes


def _compare(old: Manifests, ref: ObjectRef, manifest: Manifest, changes: Changes, differ: Differ) -> None:
    if (had := old.get(ref)) is not manifest and (had is None or differ(had, manifest)):
        changes[ref] = manifest
