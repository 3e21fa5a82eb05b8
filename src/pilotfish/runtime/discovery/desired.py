"""The objects that the user wants: those of all files, each in its last good form.

{file: Loaded} ─merge─▶ Desired(manifests, problems, mesh_config, resource_version)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pilotfish.config.manifest import Loaded, Manifest
from pilotfish.config.mesh import MeshConfig
from pilotfish.model import ObjectRef, Problem, Severity


@dataclass(frozen=True, slots=True)
class Desired:
    manifests: Mapping[ObjectRef, Manifest] = field(default_factory=dict)
    origins: Mapping[ObjectRef, Path] = field(default_factory=dict)
    """The file that each object was read from."""
    problems: tuple[Problem, ...] = ()
    mesh_config: MeshConfig | None = None
    resource_version: int = 0
    """The highest `metadata.resourceVersion` of the Lists; 0 if there is none."""

    def changes_from(self, before: Desired) -> dict[ObjectRef, Manifest | None]:
        """What is new, different or (None) gone."""
        old = before.manifests
        changes: dict[ObjectRef, Manifest | None] = {
            ref: manifest
            for ref, manifest in self.manifests.items()
            if (had := old.get(ref)) is not manifest and had != manifest
        }
        changes.update((ref, None) for ref in old if ref not in self.manifests)
        return changes


def merge(loaded: Mapping[Path, Loaded], before: Desired) -> Desired:
    """All files' objects. `before` has the last good form of what is broken now, and of what a half-read file lacks."""
    manifests: dict[ObjectRef, Manifest] = {}
    origins: dict[ObjectRef, Path] = {}
    problems: list[Problem] = []
    for path, one in loaded.items():
        problems += one.problems
        for manifest in (*one.manifests, *_last_good(path, one, before)):
            if manifest.ref in manifests:
                problems.append(_duplicate(manifest, origins[manifest.ref]))
                continue
            manifests[manifest.ref] = manifest
            origins[manifest.ref] = path
    configs = [one.mesh_config for one in loaded.values() if one.mesh_config is not None]
    versions = [int(one.resource_version) for one in loaded.values() if one.resource_version.isdecimal()]
    return Desired(manifests, origins, tuple(problems), configs[0] if configs else None, max(versions, default=0))


def _last_good(path: Path, one: Loaded, before: Desired) -> list[Manifest]:
    here = {manifest.ref for manifest in one.manifests}
    if one.incomplete:
        wanted = {ref for ref, origin in before.origins.items() if origin == path} - here
    else:
        wanted = {ref for ref in one.broken if before.origins.get(ref) == path} - here
    return [before.manifests[ref] for ref in sorted(wanted)]


def _duplicate(manifest: Manifest, first: Path) -> Problem:
    message = f"{first} already has an object of that name, so this one is not used; remove or rename one of them"
    return Problem(manifest.ref, "metadata.name", "DuplicateObject", message, Severity.ERROR, manifest.source)
