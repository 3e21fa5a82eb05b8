"""Find the user's object that Envoy refuses, and keep its last good form in force.

    refused ─suspects─▶ leave each out in turn ─▶ accepted: that one is guilty
                                  └─ all in vain ─▶ leave all out, take back one at a time

A proxy that refuses a resource keeps the one that it has, so that trying costs no traffic. One case is worked on at a
time; refusals by other proxies, and of other resources, wait. No sockets and no clock: `Court` is the outside world.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from pilotfish.model import ObjectRef


@dataclass(frozen=True, slots=True)
class Charge:
    """One proxy's refusal of one resource."""

    proxy: str
    """The proxy's node id."""
    type_url: str
    name: str
    version: str
    owners: tuple[ObjectRef, ...]
    message: str
    """Envoy's words."""


class Court(Protocol):
    """What a trial needs of the world. Everything but `holds` looks at the graph, after the latest leaving out."""

    def leave_out(self, ref: ObjectRef) -> None:
        """Use the object's last good form, or nothing, in its stead."""

    def take_back(self, ref: ObjectRef) -> None:
        """Use the object as it was written."""

    def version(self, proxy: str, type_url: str, name: str) -> str | None:
        """The version that the proxy should have; None where there is no such resource, or no such proxy."""

    def holds(self, proxy: str, type_url: str, name: str) -> str | None:
        """The version that the proxy has, and is known to work with."""

    def unproven(self) -> dict[ObjectRef, int]:
        """The objects that changed since all proxies accepted everything, and how recently (higher is later)."""


@dataclass(slots=True)
class Verdict:
    """An object that Envoy refuses: its last good form is in force."""

    type_url: str
    name: str
    message: str
    proxies: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Trial:
    charge: Charge
    left: list[ObjectRef]
    """Suspects that were not tried yet."""
    suspects: tuple[ObjectRef, ...]
    out: list[ObjectRef] = field(default_factory=list)
    """Suspects that are left out just now."""
    back: ObjectRef | None = None
    """Of all that were left out, the one that is taken back just now."""
    taking_back: bool = False
    awaited: str | None = None
    """The version whose acceptance or refusal decides the next step."""


class Quarantine:
    def __init__(self, court: Court) -> None:
        self.guilty: dict[ObjectRef, Verdict] = {}
        self.unexplained: dict[tuple[str, str], Verdict] = {}
        """Refused resources that no object of the user's could be found for, by type and name."""
        self._court = court
        self._trial: _Trial | None = None
        self._waiting: list[Charge] = []

    @property
    def is_idle(self) -> bool:
        return self._trial is None and not self._waiting

    def changed(self, refs: Iterable[ObjectRef]) -> None:
        """These objects were written anew, or removed: they are tried anew. Call it after the change."""
        touched = set(refs)
        for ref in sorted(touched & self.guilty.keys()):
            del self.guilty[ref]
            self._court.take_back(ref)
        self.unexplained.clear()
        trial = self._trial
        if trial is not None and (touched & set(trial.suspects) or self._version(trial.charge) != trial.awaited):
            # What the proxy will get is no longer what the trial waits for. If it is still bad, it begins anew.
            self._abandon()
        self._proceed()

    def refused(self, charge: Charge) -> None:
        """A proxy refused a resource."""
        trial = self._trial
        if trial is not None and self._is_awaited(charge.type_url, charge.name, charge.version):
            self._decide(trial, accepted=False)
        elif charge not in self._waiting:
            self._waiting.append(charge)
        self._proceed()

    def accepted(self, type_url: str, name: str, version: str) -> None:
        """A proxy accepted a resource."""
        trial = self._trial
        if trial is not None and self._is_awaited(type_url, name, version):
            self._decide(trial, accepted=True)
            self._proceed()

    def left(self, proxy: str) -> None:
        """A proxy is gone: if it was the witness, the trial starts again with the next one that refuses."""
        self._waiting = [charge for charge in self._waiting if charge.proxy != proxy]
        if self._trial is not None and self._trial.charge.proxy == proxy:
            self._abandon()
        self._proceed()

    def _is_awaited(self, type_url: str, name: str, version: str) -> bool:
        """Any proxy's answer counts: the same version is the same resource."""
        if self._trial is None:
            return False
        charge = self._trial.charge
        return (charge.type_url, charge.name, self._trial.awaited) == (type_url, name, version)

    def _version(self, charge: Charge) -> str | None:
        return self._court.version(charge.proxy, charge.type_url, charge.name)

    def _abandon(self) -> None:
        trial, self._trial = self._trial, None
        for ref in trial.out if trial else ():
            self._court.take_back(ref)

    def _proceed(self) -> None:
        """Take up the charges that wait, until one needs a proxy's answer."""
        while self._trial is None and self._waiting:
            self._open(self._waiting.pop(0))

    def _open(self, charge: Charge) -> None:
        if self._version(charge) != charge.version:
            # It is no longer what the proxy should have: something that it came from was left out, or mended.
            for ref in self.guilty.keys() & set(charge.owners):
                self.guilty[ref].proxies.add(charge.proxy)
            return
        suspects = _suspects(charge.owners, self._court.unproven(), self.guilty.keys())
        self._trial = _Trial(charge, list(suspects), suspects)
        self._try_next(self._trial)

    def _try_next(self, trial: _Trial) -> None:
        """Leave out the next suspect that makes a difference."""
        while trial.left:
            suspect = trial.left.pop(0)
            self._court.leave_out(suspect)
            trial.out = [suspect]
            if self._await(trial):
                return
            self._court.take_back(suspect)
            trial.out = []
        self._leave_all_out(trial)

    def _leave_all_out(self, trial: _Trial) -> None:
        if len(trial.suspects) > 1 and not trial.taking_back:
            for suspect in trial.suspects:
                self._court.leave_out(suspect)
            trial.out = list(trial.suspects)
            trial.taking_back = True
            if self._await(trial):
                return
        self._acquit_all(trial)

    def _acquit_all(self, trial: _Trial) -> None:
        charge = trial.charge
        self._abandon()
        verdict = self.unexplained.setdefault(
            (charge.type_url, charge.name), Verdict(charge.type_url, charge.name, charge.message)
        )
        verdict.proxies.add(charge.proxy)

    def _await(self, trial: _Trial) -> bool:
        """Whether leaving out what is left out makes a difference; if so the answer to it decides the next step."""
        version = self._version(trial.charge)
        if version == trial.charge.version:
            return False
        self._expect(trial, version)
        return True

    def _expect(self, trial: _Trial, version: str | None) -> None:
        charge = trial.charge
        trial.awaited = version
        if version is None or version == self._court.holds(charge.proxy, charge.type_url, charge.name):
            # Nothing is sent: the proxy has it, or is to have none.
            self._decide(trial, accepted=True)

    def _decide(self, trial: _Trial, accepted: bool) -> None:
        trial.awaited = None
        if trial.taking_back:
            self._decide_taking_back(trial, accepted)
        elif accepted:
            self._convict(trial, trial.out[0])
            self._trial = None
        else:
            self._court.take_back(trial.out.pop())
            self._try_next(trial)

    def _decide_taking_back(self, trial: _Trial, accepted: bool) -> None:
        if trial.back is None and not accepted:
            self._acquit_all(trial)
            return
        if trial.back is not None and not accepted:
            self._court.leave_out(trial.back)
            self._convict(trial, trial.back)
        self._take_next_back(trial)

    def _take_next_back(self, trial: _Trial) -> None:
        if not trial.out:
            self._trial = None
            return
        trial.back = trial.out.pop()
        self._court.take_back(trial.back)
        version = self._version(trial.charge)
        if version == trial.charge.version:
            # The very version that was refused: everything that is bad is back.
            self._decide(trial, accepted=False)
        else:
            self._expect(trial, version)

    def _convict(self, trial: _Trial, ref: ObjectRef) -> None:
        charge = trial.charge
        verdict = self.guilty.setdefault(ref, Verdict(charge.type_url, charge.name, charge.message))
        verdict.proxies.add(charge.proxy)


def _suspects(
    owners: tuple[ObjectRef, ...], unproven: dict[ObjectRef, int], guilty: Iterable[ObjectRef]
) -> tuple[ObjectRef, ...]:
    """Those owners that changed since all was well, the latest and Istio's kinds first; else all of Istio's kinds."""
    known = set(guilty)
    candidates = [ref for ref in owners if ref not in known]
    changed = [ref for ref in candidates if ref in unproven]
    chosen = changed or [ref for ref in candidates if ref.kind.is_istio]
    return tuple(sorted(chosen, key=lambda ref: (not ref.kind.is_istio, -unproven.get(ref, 0), ref)))
