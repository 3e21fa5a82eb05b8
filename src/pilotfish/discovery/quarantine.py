"""Find the user's object that Envoy refuses, and keep its last good form in force.

    NACK ─candidates─▶ exclude each in turn ─▶ accepted without it: that one is rejected
                               └─ all in vain ─▶ exclude all, readmit one at a time

A proxy that refuses a resource keeps the one that it has, so that probing costs no traffic. One search is under way at
a time; refusals by other proxies, and of other resources, wait. `World` is what it acts on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from pilotfish.model import ObjectRef


@dataclass(frozen=True, slots=True)
class Nack:
    """One proxy's refusal of one resource."""

    proxy: str
    """The proxy's node id."""
    type_url: str
    name: str
    version: str
    owners: tuple[ObjectRef, ...]
    message: str
    """Envoy's words."""


class World(Protocol):
    """What a search tries things with. Everything but `holds` looks at the graph, after the latest exclusion."""

    def exclude(self, ref: ObjectRef) -> None:
        """Use the object's last good form, or nothing, in its stead."""

    def readmit(self, ref: ObjectRef) -> None:
        """Use the object as it was written."""

    def version(self, proxy: str, type_url: str, name: str) -> str | None:
        """The version that the proxy should have; None where there is no such resource, or no such proxy."""

    def holds(self, proxy: str, type_url: str, name: str) -> str | None:
        """The version that the proxy has, and is known to work with."""

    def unproven(self) -> dict[ObjectRef, int]:
        """The objects that changed since all proxies accepted everything, and how recently (higher is later)."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """What Envoy refused, and who did."""

    type_url: str
    name: str
    message: str
    """Envoy's words."""
    proxies: frozenset[str]
    """Node ids."""

    @classmethod
    def of(cls, nack: Nack) -> Rejection:
        return cls(nack.type_url, nack.name, nack.message, frozenset((nack.proxy,)))

    def also_by(self, proxy: str) -> Rejection:
        return replace(self, proxies=self.proxies | {proxy})


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
    """The version whose acceptance or refusal decides the next step."""


class Quarantine:
    def __init__(self, world: World) -> None:
        self.rejected: dict[ObjectRef, Rejection] = {}
        """The objects that Envoy refuses: their last good forms are in force."""
        self.unexplained: dict[tuple[str, str], Rejection] = {}
        """Refused resources that no object of the user's could be found for, by type and name."""
        self.revision = 0
        """Goes up whenever `rejected` changes."""
        self._world = world
        self._search: _Search | None = None
        self._waiting: list[Nack] = []

    @property
    def is_idle(self) -> bool:
        return self._search is None and not self._waiting

    def restore(self, ref: ObjectRef, rejection: Rejection) -> None:
        """Envoy refused this very form of the object before discovery was restarted."""
        self._world.exclude(ref)
        self.rejected[ref] = rejection
        self.revision += 1

    def changed(self, refs: Iterable[ObjectRef]) -> None:
        """These objects were written anew, or removed: they are offered again. Call it after the change."""
        touched = set(refs)
        for ref in sorted(touched & self.rejected.keys()):
            del self.rejected[ref]
            self.revision += 1
            self._world.readmit(ref)
        self.unexplained.clear()
        search = self._search
        if search is not None and (touched & set(search.candidates) or self._version(search.nack) != search.awaited):
            # What the proxy will get is no longer what the search waits for. If it is still bad, it begins anew.
            self._abandon()
        self._proceed()

    def refused(self, nack: Nack) -> None:
        """A proxy refused a resource."""
        search = self._search
        if search is not None and self._is_awaited(nack.type_url, nack.name, nack.version):
            self._conclude(search, accepted=False)
        elif nack not in self._waiting:
            self._waiting.append(nack)
        self._proceed()

    def accepted(self, type_url: str, name: str, version: str) -> None:
        """A proxy accepted a resource."""
        search = self._search
        if search is not None and self._is_awaited(type_url, name, version):
            self._conclude(search, accepted=True)
            self._proceed()

    def left(self, proxy: str) -> None:
        """A proxy is gone. A search that asked it starts again with the next one that refuses."""
        self._waiting = [nack for nack in self._waiting if nack.proxy != proxy]
        if self._search is not None and self._search.nack.proxy == proxy:
            self._abandon()
        self._proceed()

    def _is_awaited(self, type_url: str, name: str, version: str) -> bool:
        """Any proxy's answer counts: the same version is the same resource."""
        if self._search is None:
            return False
        nack = self._search.nack
        return (nack.type_url, nack.name, self._search.awaited) == (type_url, name, version)

    def _version(self, nack: Nack) -> str | None:
        return self._world.version(nack.proxy, nack.type_url, nack.name)

    def _abandon(self) -> None:
        search, self._search = self._search, None
        for ref in search.excluded if search else ():
            self._world.readmit(ref)

    def _proceed(self) -> None:
        """Take up the refusals that wait, until one needs a proxy's answer."""
        while self._search is None and self._waiting:
            self._start(self._waiting.pop(0))

    def _start(self, nack: Nack) -> None:
        if self._version(nack) != nack.version:
            # It is no longer what the proxy should have: something that it came from was excluded, or mended.
            for ref in self.rejected.keys() & set(nack.owners):
                self._reject(ref, nack)
            return
        candidates = _candidates(nack.owners, self._world.unproven(), self.rejected.keys())
        self._search = _Search(nack, list(candidates), candidates)
        self._probe_next(self._search)

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
        self.unexplained[nack.type_url, nack.name] = known.also_by(nack.proxy) if known else Rejection.of(nack)

    def _await(self, search: _Search) -> bool:
        """Whether what is excluded makes a difference; if so the answer to it decides the next step."""
        version = self._version(search.nack)
        if version == search.nack.version:
            return False
        self._expect(search, version)
        return True

    def _expect(self, search: _Search, version: str | None) -> None:
        nack = search.nack
        search.awaited = version
        if version is None or version == self._world.holds(nack.proxy, nack.type_url, nack.name):
            # Nothing is sent: the proxy has it, or is to have none.
            self._conclude(search, accepted=True)

    def _conclude(self, search: _Search, accepted: bool) -> None:
        search.awaited = None
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
            self._expect(search, version)

    def _reject(self, ref: ObjectRef, nack: Nack) -> None:
        known = self.rejected.get(ref)
        if known is None or nack.proxy not in known.proxies:
            self.rejected[ref] = known.also_by(nack.proxy) if known else Rejection.of(nack)
            self.revision += 1


def _candidates(
    owners: tuple[ObjectRef, ...], unproven: dict[ObjectRef, int], rejected: Iterable[ObjectRef]
) -> tuple[ObjectRef, ...]:
    """Those owners that changed since all was well, the latest and Istio's kinds first; else all of Istio's kinds."""
    known = set(rejected)
    eligible = [ref for ref in owners if ref not in known]
    changed = [ref for ref in eligible if ref in unproven]
    chosen = changed or [ref for ref in eligible if ref.kind.is_istio]
    return tuple(sorted(chosen, key=lambda ref: (not ref.kind.is_istio, -unproven.get(ref, 0), ref)))
