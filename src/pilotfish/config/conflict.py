"""What is said where two texts, or two documents of one, claim the same place: the first holds."""

from __future__ import annotations

from pilotfish.config.manifest import Manifest, WrittenMeshConfig
from pilotfish.model import Problem, Severity


def duplicate_object(unused: Manifest, used: Manifest) -> Problem:
    message = f"an object of this name stands at {used.source} already, and that one is used; rename or remove one"
    return Problem(unused.ref, "metadata.name", "DuplicateObject", message, source=unused.source)


def second_mesh_config(
    unused: WrittenMeshConfig, used: WrittenMeshConfig, severity: Severity = Severity.ERROR
) -> Problem:
    message = f"there is one meshConfig, and that of {_place(used)} is used; put what this one says there, or remove it"
    return Problem(unused.ref, "", "DuplicateMeshConfig", message, severity, unused.source)


def _place(written: WrittenMeshConfig) -> str:
    return " at ".join(str(part) for part in (written.ref, written.source) if part) or "another"
