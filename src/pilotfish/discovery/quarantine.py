"""Find the user's object that Envoy refuses, and keep its last good form in force.

    NACK ─vote─▶ most others took the same: the proxy is convicted, the object stays
           └───▶ candidates ─▶ exclude each in turn ─▶ accepted without it: that one is rejected
                                    └─ all in vain ─▶ exclude all, readmit one at a time

A proxy that refuses a resource keeps the one that it has, so that probing costs no traffic. One search is under way at
a time; refusals by other proxies, and of other resources, wait. `World` is what it acts on.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from typing import Final, Protocol

from pilotfish.discovery.rejection import Nack, Rejection
from pilotfish.discovery.voting import Votes
from pilotfish.envoy.owners import PASSING
from pilotfish.model import ObjectRef

PATIENCE: Final = 3.0
"""Seconds for which those who were sent a resource are waited for until the others' word decides."""


class World(Protocol):
    """What a search tries things with. `version` looks at the graph, after the latest exclusion."""

    def exclude(self, ref: ObjectRef) -> None:
        """Use the object's last good form, or nothing, in its stead."""

    def readmit(self, ref: ObjectRef) -> None:
        """Use the object as it was written."""

    def version(self, proxy: str, type_url: str, name: str) -> str | None:
        """The version that the proxy should have; None where there is no such resource, or no such proxy."""

    def votes(self, type_url: str, name: str, version: str, but: Set[str]) -> Votes:
        """What the proxies say of it; those of `but` are not asked."""

    def gathers(self, now: float) -> bool:
        """Whether discovery has just come, and not all proxies that it had are back: the first is not the most."""

    def owners(self, ref: ObjectRef, rejection: Rejection) -> Set[ObjectRef]:
        """All that would go into what was refused if this object, which is excluded, were used as it was written."""

    def unproven(self) -> dict[ObjectRef, int]:
        """The objects that changed since all proxies accepted everything, and how recently (higher is later)."""


@dataclass(slots=True)
class _Waiting:
    nack: Nack
    since: float | None = None
    """When the others' answers were first looked at."""


@dataclass(slots=True)
class _Search:
    nack: Nack
    untried: list[ObjectRef]
    candidates: tuple[ObjectRef, ...]
    excluded: list[ObjectRef] = field(default_factory=list)
    """Candidates that are left out just now."""
    readmitted: ObjectRef | None = None
    """Of all that were excluded, the one that is probed just now."""
    readmits: bool = False
    """All were excluded, and come back one at a time."""
    awaited: str | None = None
    """The version whose acceptance or refusal decides the next step; None for the resource's absence."""
    since: float | None = None
    """When the answers to it were first looked at."""


class Quarantine:
    def __init__(self, world: World) -> None:
        self.rejected: dict[ObjectRef, Rejection] = {}
        """The objects that Envoy refuses: their last good forms are in force."""
        self.unexplained: dict[tuple[str, str], Rejection] = {}
        """Refused resources that no object of the user's could be found for, by type and name."""
        self.convicted: dict[str, dict[tuple[str, str], Nack]] = {}
        """The proxies, by node id, that refused what most others took, and what they refuse: by type and name. As long
        as they are connected their word does not count."""
        self.revision = 0
        """Goes up whenever `rejected` changes."""
        self._suspects: set[ObjectRef] = set()
        """What was rejected before, and is offered again as it was: it is tried before others."""
        self._world = world
        self._search: _Search | None = None
        self._waiting: list[_Waiting] = []

    @property
    def is_idle(self) -> bool:
        return self._search is None and not self._waiting

    def concerns(self, type_url: str) -> bool:
        """Whether answers about this type are waited for."""
        return (self._search is not None and self._search.nack.type_url == type_url) or any(
            waiting.nack.type_url == type_url for waiting in self._waiting
        )

    def restore(self, ref: ObjectRef, rejection: Rejection) -> None:
        """Envoy refused this very form of the object before discovery was restarted."""
        self._world.exclude(ref)
        self.rejected[ref] = rejection
        self.revision += 1

    def suspect(self, ref: ObjectRef) -> None:
        """Envoy refused it before discovery was restarted; something is another now, so it is used again."""
        self._suspects.add(ref)

    def changed(self, refs: Iterable[ObjectRef]) -> None:
        """These objects were written anew, or removed: they are offered again, and so are those that were refused for
        what was made of both. Call it after the change."""
        touched = set(refs)
        self._suspects -= touched
        for ref in sorted(touched & self.rejected.keys()):
            self._lift(ref)
        for ref in sorted(self.rejected):
            if self._is_another(ref, {each for each in touched if each.kind not in PASSING}):
                self._suspects.add(ref)
                self._lift(ref)
        self.unexplained.clear()
        search = self._search
        if search is not None and (touched & set(search.candidates) or self._version(search.nack) != search.awaited):
            # What the proxy will get is no longer what the search waits for. If it is still bad, it begins anew.
            self._abandon()

    def refused(self, nack: Nack) -> None:
        """A proxy refused a resource. What follows, `review` decides."""
        if nack.proxy in self.convicted:
            self._convict(nack)
        elif not self._is_awaited(nack) and all(waiting.nack != nack for waiting in self._waiting):
            self._waiting.append(_Waiting(nack))

    def left(self, proxy: str) -> None:
        """A proxy is gone. A search that asked it starts again with the next one that refuses."""
        self.convicted.pop(proxy, None)
        self._waiting = [waiting for waiting in self._waiting if waiting.nack.proxy != proxy]
        if self._search is not None and self._search.nack.proxy == proxy:
            self._abandon()

    def review(self, now: float) -> None:
        """Somebody has answered, left, or been silent for long: go on as far as the answers lead."""
        while self._decide(self._search, now) if self._search is not None else self._take_up(now):
            pass

    def _is_awaited(self, nack: Nack) -> bool:
        """The vote about it is under way."""
        search = self._search
        return search is not None and (search.nack.type_url, search.nack.name, search.awaited) == (
            nack.type_url,
            nack.name,
            nack.version,
        )

    def _version(self, nack: Nack) -> str | None:
        return self._world.version(nack.proxy, nack.type_url, nack.name)

    def _votes(self, nack: Nack, version: str) -> Votes:
        return self._world.votes(nack.type_url, nack.name, version, self.convicted.keys())

    def _abandon(self) -> None:
        search, self._search = self._search, None
        for ref in search.excluded if search else ():
            self._world.readmit(ref)

    def _is_another(self, ref: ObjectRef, touched: Set[ObjectRef]) -> bool:
        """Whether what is touched went into what was refused of the object, or goes into it now."""
        rejection = self.rejected[ref]
        if not rejection.owners.isdisjoint(touched):
            return True
        return bool(touched) and not touched.isdisjoint(self._world.owners(ref, rejection))

    def _lift(self, ref: ObjectRef) -> None:
        del self.rejected[ref]
        self.revision += 1
        self._world.readmit(ref)

    def _take_up(self, now: float) -> bool:
        """The first refusal of those that wait of which it is clear whom it convicts."""
        for waiting in self._waiting:
            if self._try(waiting, now):
                self._waiting.remove(waiting)
                return True
        return False

    def _try(self, waiting: _Waiting, now: float) -> bool:
        nack = waiting.nack
        if self._version(nack) != nack.version:
            # It is no longer what the proxy should have: something that it came from was excluded, or mended.
            for ref in self.rejected.keys() & set(nack.owners):
                self._reject(ref, nack)
            return True
        waiting.since = now if waiting.since is None else waiting.since
        accepted = self._votes(nack, nack.version).decide(now - waiting.since >= PATIENCE)
        if accepted is None or (not accepted and self._world.gathers(now)):
            return False
        if accepted:
            self._convict(nack)
        else:
            self._start(nack)
        return True

    def _convict(self, nack: Nack) -> None:
        """It stands alone. What was rejected on the word of such proxies only is offered again."""
        self.convicted.setdefault(nack.proxy, {})[nack.type_url, nack.name] = nack
        liars = self.convicted.keys()
        for ref in [ref for ref, rejection in self.rejected.items() if rejection.proxies <= liars]:
            self._lift(ref)
        self.unexplained = {what: known for what, known in self.unexplained.items() if not known.proxies <= liars}

    def _start(self, nack: Nack) -> None:
        candidates = _candidates(nack.owners, self._world.unproven(), self.rejected.keys(), self._suspects)
        self._search = _Search(nack, list(candidates), candidates)
        self._probe_next(self._search)

    def _decide(self, search: _Search, now: float) -> bool:
        """True if the answers to what is probed suffice, and were followed."""
        if search.awaited is None:  # it is to have none, which it can't refuse
            self._conclude(search, accepted=True)
            return True
        search.since = now if search.since is None else search.since
        is_over = now - search.since >= PATIENCE
        accepted = self._votes(search.nack, search.awaited).decide(is_over)
        if accepted is None and is_over:
            self._give_up(search)
            return True
        if accepted is not None:
            self._conclude(search, accepted)
        return accepted is not None

    def _probe_next(self, search: _Search) -> None:
        """Exclude the next candidate that makes a difference."""
        while search.untried:
            candidate = search.untried.pop(0)
            self._world.exclude(candidate)
            search.excluded = [candidate]
            if self._await(search):
                return
            self._world.readmit(candidate)
            search.excluded = []
        self._exclude_all(search)

    def _exclude_all(self, search: _Search) -> None:
        if len(search.candidates) > 1 and not search.readmits:
            for candidate in search.candidates:
                self._world.exclude(candidate)
            search.excluded = list(search.candidates)
            search.readmits = True
            if self._await(search):
                return
        self._give_up(search)

    def _give_up(self, search: _Search) -> None:
        nack = search.nack
        self._abandon()
        known = self.unexplained.get((nack.type_url, nack.name))
        self.unexplained[nack.type_url, nack.name] = known.also_by(nack) if known else Rejection.of(nack)

    def _await(self, search: _Search) -> bool:
        """Whether what is excluded makes a difference; if so the answer to it decides the next step."""
        version = self._version(search.nack)
        if version == search.nack.version:
            return False
        search.awaited, search.since = version, None
        return True

    def _conclude(self, search: _Search, accepted: bool) -> None:
        if search.readmits:
            self._conclude_readmitting(search, accepted)
        elif accepted:
            self._reject(search.excluded[0], search.nack)
            self._search = None
        else:
            self._world.readmit(search.excluded.pop())
            self._probe_next(search)

    def _conclude_readmitting(self, search: _Search, accepted: bool) -> None:
        if search.readmitted is None and not accepted:
            self._give_up(search)
            return
        if search.readmitted is not None and not accepted:
            self._world.exclude(search.readmitted)
            self._reject(search.readmitted, search.nack)
        self._readmit_next(search)

    def _readmit_next(self, search: _Search) -> None:
        if not search.excluded:
            self._search = None
            return
        search.readmitted = search.excluded.pop()
        self._world.readmit(search.readmitted)
        version = self._version(search.nack)
        if version == search.nack.version:
            # The very version that was refused: everything that is bad is back.
            self._conclude(search, accepted=False)
        else:
            search.awaited, search.since = version, None

    def _reject(self, ref: ObjectRef, nack: Nack) -> None:
        known = self.rejected.get(ref)
        if known is None or nack.proxy not in known.proxies:
            self.rejected[ref] = known.also_by(nack) if known else Rejection.of(nack)
            self._suspects.discard(ref)
            self.revision += 1


def _candidates(
    owners: tuple[ObjectRef, ...],
    unproven: dict[ObjectRef, int],
    rejected: Iterable[ObjectRef],
    suspects: Set[ObjectRef],
) -> tuple[ObjectRef, ...]:
    """Those owners that changed since all was well, suspects, Istio's kinds and the latest first; else all of Istio's
    kinds."""
    known = set(rejected)
    eligible = [ref for ref in owners if ref not in known]
    changed = [ref for ref in eligible if ref in unproven]
    chosen = changed or [ref for ref in eligible if ref.kind.is_istio]
    return tuple(
        sorted(chosen, key=lambda ref: (ref not in suspects, not ref.kind.is_istio, -unproven.get(ref, 0), ref))
    )
