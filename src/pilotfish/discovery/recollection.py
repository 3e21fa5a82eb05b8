"""What a discovery knows of objects that Envoy refused: from one before it, and from other replicas; and what it wants
kept of that itself (`memory` has the form)."""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.discovery.effects import Remember
from pilotfish.discovery.memory import Remembered, as_of
from pilotfish.discovery.mesh import Mesh
from pilotfish.discovery.quarantine import Quarantine
from pilotfish.model import ObjectRef

_NOTHING_KEPT = (-1, 0)


class Recollection:
    def __init__(self, mesh: Mesh, quarantine: Quarantine, remembered: Iterable[Remembered]) -> None:
        """`remembered`: what an earlier discovery, or another replica, asked to keep."""
        self._mesh = mesh
        self._quarantine = quarantine
        self._earlier = tuple(remembered)
        self._pending: dict[ObjectRef, Remembered] = {}
        """Of those, the objects whose present forms are neither known to work nor refused yet."""
        self._kept = (0, 0)
        """As of which revision of the quarantine, and which pending ones, things were last asked to be kept."""

    def recall(self, remembered: Iterable[Remembered]) -> None:
        """In the place of what was given first. To be called before the first change."""
        self._earlier = tuple(remembered)

    def compare(self) -> None:
        """The first objects are there: which of them are as they were refused, and which are another thing? Those that
        are gone by now are forgotten."""
        earlier, self._earlier = self._earlier, ()
        if earlier:
            self._kept = _NOTHING_KEPT
        for known in earlier:
            manifest = self._mesh.desired.manifests.get(known.ref)
            if manifest is None:
                continue
            self._pending[known.ref] = known
            if known.last_good is not None:
                self._mesh.recall(known.last_good)
            if known.refused == manifest and known.as_of == as_of(self._mesh.desired, known.rejection.owners):
                self._quarantine.restore(known.ref, known.rejection)
            else:
                self._quarantine.suspect(known.ref)

    def learn(self, remembered: Iterable[Remembered]) -> tuple[ObjectRef, ...]:
        """Other replicas know this. Which forms work is of use here, where none was seen to work: of these objects.
        What is refused, the proxies here say."""
        learned = []
        for known in remembered:
            is_there = known.ref in self._mesh.desired.manifests
            if is_there and known.last_good is not None and self._mesh.last_good(known.ref) is None:
                self._mesh.recall(known.last_good)
                learned.append(known.ref)
        return tuple(learned)

    def prove(self) -> None:
        """All present forms are known to work, or are refused."""
        self._pending.clear()

    def due(self) -> Remember | None:
        """What is to be kept, if that is news."""
        known = self._quarantine.revision, len(self._pending)
        if known == self._kept:
            return None
        self._kept = known
        desired = self._mesh.desired
        rejected = {
            ref: Remembered(
                ref, each, desired.manifests.get(ref), self._mesh.last_good(ref), as_of(desired, each.owners)
            )
            for ref, each in self._quarantine.rejected.items()
        }
        return Remember(tuple({**self._pending, **rejected}.values()))
