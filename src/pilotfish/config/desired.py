"""What the user wants: the objects of all origins as one.

    {origin: Loaded, or None for one that is gone} ─update─▶ DesiredState

An origin is a file, standard input, an object of the API server: whatever is read, is changed and goes as a whole.
Decided here, for everybody who reads objects, and nowhere else:

- what is broken keeps its last good form, for as long as its origin holds it;
- an object is the first origin's that holds it, and stays that one's: another that comes to hold it gets a Problem,
  and gets the object when the first one lets it go;
- one meshConfig is in force: that of a preferred origin, else of the first that has one. Others that differ get a
  Problem. One whose object was deleted by hand is out of force until what it says changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from pilotfish.config.conflict import duplicate_object, second_mesh_config
from pilotfish.config.manifest import Loaded, Manifest, WrittenMeshConfig
from pilotfish.config.mesh import MeshConfig
from pilotfish.model import ObjectRef, Problem, Severity

News = Mapping[str, Loaded | None]
"""By origin: all that it holds now; None for one that is gone."""


@dataclass(frozen=True, slots=True)
class Held:
    """What an origin holds, each in its last good form."""

    manifests: Mapping[ObjectRef, Manifest] = field(default_factory=dict)
    mesh_config: WrittenMeshConfig | None = None
    withdrawn: bool = False
    """The meshConfig is as good as not there: see `withdraw`."""
    problems: tuple[Problem, ...] = ()
    resource_version: int = 0


@dataclass(frozen=True, slots=True)
class DesiredState:
    preferred: tuple[str, ...] = ()
    """Origins whose meshConfig goes before all others', the first of them first."""
    manifests: Mapping[ObjectRef, Manifest] = field(default_factory=dict)
    keepers: Mapping[ObjectRef, str] = field(default_factory=dict)
    """The origin that each object is from."""
    mesh_config: MeshConfig = field(default_factory=MeshConfig)
    problems: tuple[Problem, ...] = ()
    resource_version: int = 0
    """The highest `metadata.resourceVersion` of the Lists; 0 if there is none."""
    held: Mapping[str, Held] = field(default_factory=dict)
    """By origin, in the order in which they came."""
    noted: Mapping[str, Held] = field(default_factory=dict)
    """Of those, in the same order, the ones of which there is more to say than their objects."""
    claimed: Mapping[ObjectRef, tuple[str, ...]] = field(default_factory=dict)
    """The origins of an object that several hold, in the same order."""
    duplicates: Mapping[ObjectRef, tuple[Problem, ...]] = field(default_factory=dict)


def update(before: DesiredState, news: News) -> DesiredState:
    """What follows from the news. What they don't touch is the same object as before, not an equal one. The work
    follows from the news, too: a cluster's objects are thousands of origins."""
    held, touched = _take(before.held, news)
    manifests, keepers, duplicates = dict(before.manifests), dict(before.keepers), dict(before.duplicates)
    claimed = dict(before.claimed)
    for ref, claims in _claims(before, held, news, touched):
        duplicates.pop(ref, None)
        claimed.pop(ref, None)
        if not claims:
            del manifests[ref], keepers[ref]
            continue
        keeper = before.keepers.get(ref)
        keepers[ref] = keeper = keeper if keeper in claims else claims[0]
        manifests[ref] = used = held[keeper].manifests[ref]
        if len(claims) > 1:
            claimed[ref] = claims
            unused = (held[origin].manifests[ref] for origin in claims if origin != keeper)
            duplicates[ref] = tuple(duplicate_object(manifest, used) for manifest in unused)
    noted = _note(before, held, news)
    return _conclude(
        replace(
            before,
            manifests=manifests,
            keepers=keepers,
            held=held,
            noted=noted,
            claimed=claimed,
            duplicates=duplicates,
        )
    )


def withdraw(state: DesiredState, refs: Collection[ObjectRef]) -> DesiredState:
    """The meshConfigs that stand in these objects are not in force until what they say changes: somebody has deleted
    the objects, while their texts stay where they are."""
    withdrawn = {
        origin: replace(one, withdrawn=True)
        for origin, one in state.noted.items()
        if one.mesh_config and one.mesh_config.ref in refs
    }
    if not withdrawn:
        return state
    return _conclude(replace(state, held={**state.held, **withdrawn}, noted={**state.noted, **withdrawn}))


def mesh_config_refs(state: DesiredState) -> frozenset[ObjectRef]:
    """The objects that hold a meshConfig which is not withdrawn."""
    found = (one.mesh_config.ref for one in state.noted.values() if one.mesh_config and not one.withdrawn)
    return frozenset(ref for ref in found if ref is not None)


def _conclude(state: DesiredState) -> DesiredState:
    """With what follows from all that is held."""
    noted, duplicates = state.noted, state.duplicates
    mesh_config, conflicts = _choose(noted, state.preferred)
    found = [problem for one in noted.values() for problem in one.problems]
    found += (problem for ref in sorted(duplicates) for problem in duplicates[ref])
    version = max((one.resource_version for one in noted.values()), default=0)
    return replace(state, mesh_config=mesh_config, problems=(*found, *conflicts), resource_version=version)


def _take(before: Mapping[str, Held], news: News) -> tuple[dict[str, Held], set[ObjectRef]]:
    """What each origin holds now, and the objects that are not what they were in one of them."""
    held = dict(before)
    touched: set[ObjectRef] = set()
    for origin, loaded in news.items():
        old = held.get(origin, Held())
        new = Held() if loaded is None else _hold(loaded, old)
        touched.update(ref for ref, manifest in new.manifests.items() if old.manifests.get(ref) is not manifest)
        touched.update(ref for ref in old.manifests if ref not in new.manifests)
        if loaded is None:
            held.pop(origin, None)
        else:
            held[origin] = new
    return held, touched


def _hold(loaded: Loaded, before: Held) -> Held:
    manifests = {manifest.ref: manifest for manifest in loaded.manifests}
    maybe = before.manifests.keys() if loaded.incomplete else before.manifests.keys() & loaded.broken
    manifests.update((ref, before.manifests[ref]) for ref in maybe if ref not in manifests)
    mesh_config, old = loaded.mesh_config, before.mesh_config
    if mesh_config is None and old is not None and (loaded.incomplete or old.ref in loaded.broken):
        mesh_config = old
    withdrawn = before.withdrawn and mesh_config == old
    return Held(manifests, mesh_config, withdrawn, loaded.problems, _number(loaded.resource_version))


def _number(version: str) -> int:
    """0 for what is no version of ours: Python refuses to read numbers of thousands of digits."""
    return int(version) if version.isdecimal() and len(version) < 20 else 0


def _claims(
    before: DesiredState, held: Mapping[str, Held], news: News, touched: set[ObjectRef]
) -> Iterator[tuple[ObjectRef, tuple[str, ...]]]:
    """The origins that hold each of the objects that are touched, the first one first."""
    new: dict[ObjectRef, list[str]] = {}
    for origin, one in ((origin, held[origin]) for origin in news if origin in held):
        for ref in one.manifests:
            new.setdefault(ref, []).append(origin)
    places: dict[str, int] = {}
    for ref in touched:
        keeper = before.keepers.get(ref)
        known = before.claimed.get(ref) or (() if keeper is None else (keeper,))
        still = (origin for origin in known if origin in held and ref in held[origin].manifests)
        claims = tuple(dict.fromkeys((*still, *new.get(ref, ()))))
        if len(claims) > 1:
            places = places or {origin: place for place, origin in enumerate(held)}
            claims = tuple(sorted(claims, key=places.__getitem__))
        yield ref, claims


def _note(before: DesiredState, held: Mapping[str, Held], news: News) -> dict[str, Held]:
    said = {origin: held[origin] for origin in news if origin in held and _says_more(held[origin])}
    if any(origin in before.held and origin not in before.noted for origin in said):
        return {origin: one for origin, one in held.items() if _says_more(one)}  # its place is among the others
    kept = {origin: one for origin, one in before.noted.items() if origin not in news or origin in said}
    return {**kept, **said}


def _says_more(one: Held) -> bool:
    return bool(one.problems) or one.mesh_config is not None or one.resource_version > 0


def _choose(held: Mapping[str, Held], preferred: Iterable[str]) -> tuple[MeshConfig, list[Problem]]:
    """The meshConfig that is in force, and what is to be said of the others."""
    found = {
        origin: one.mesh_config for origin, one in held.items() if one.mesh_config is not None and not one.withdrawn
    }
    used = next((found[origin] for origin in (*preferred, *found) if origin in found), None)
    if used is None:
        return MeshConfig(), []
    # Whoever prefers one has said so, but may not know of the others.
    severity = Severity.WARNING if any(origin in found for origin in preferred) else Severity.ERROR
    others = (other for other in found.values() if other.config != used.config)
    return used.config, [second_mesh_config(other, used, severity) for other in others]
