"""What goes when a revision goes, or all of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pilotfish.install.inventory import release_of, revision_of, revisions_of
from pilotfish.install.names import Object


@dataclass(frozen=True, slots=True)
class Plan:
    goes: tuple[Object, ...] = ()
    is_last: bool = False
    """No control plane is left then, so what all share goes as well."""
    refusal: str = ""


def plan(ours: Iterable[Object], revision: str) -> Plan:
    """`ours` in the order in which it goes. `revision`: as `istio.io/rev` says it; "" for all."""
    ours = tuple(ours)
    there = revisions_of(ours)
    goes = ours if not revision else tuple(each for each in ours if revision_of(each) == revision)
    if revision and not goes:
        known = f"; there is {', '.join(there)}" if there else ""
        return Plan(refusal=f"nothing of revision {revision} is installed{known}")
    releases = sorted({release for each in goes if (release := release_of(each))})
    if releases:
        return Plan(refusal=f"Helm's release {releases[0]} installed it; remove it with `helm uninstall {releases[0]}`")
    if not revision or not set(there) - {revision}:
        return Plan(ours, is_last=True)
    return Plan(goes)
