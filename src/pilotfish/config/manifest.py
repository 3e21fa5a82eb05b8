"""What reading configuration comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import msgspec

from pilotfish.config.kubernetes import Resource
from pilotfish.config.lines import line_of
from pilotfish.config.mesh import MeshConfig
from pilotfish.model import ObjectRef, Problem, Source


@dataclass(frozen=True, slots=True)
class Manifest:
    """One valid object of the user's."""

    ref: ObjectRef
    resource: Resource
    written: Mapping[str, object] | bytes = field(compare=False, repr=False)
    """The document, or its JSON: a tenth of the memory, where it is seldom looked at."""
    source: Source | None = field(default=None, compare=False)
    lines: bytes = field(default=b"", compare=False, repr=False)
    """Of its fields (`lines`); nothing where only the object's own line is known."""

    def at(self, path: str) -> Source | None:
        """Where a field was written."""
        if self.source is None or not self.lines:
            return self.source
        return Source(self.source.file, self.source.line + line_of(self.document, self.lines, path))

    @property
    def document(self) -> Mapping[str, object]:
        """As it was written, with apiVersion and kind, and with its namespace filled in. Nobody changes it."""
        if not isinstance(self.written, bytes):
            return self.written
        document: dict[str, object] = msgspec.json.decode(self.written)
        return document


@dataclass(frozen=True, slots=True)
class WrittenMeshConfig:
    config: MeshConfig
    ref: ObjectRef | None = None
    """The ConfigMap or IstioOperator that it stands in; None for a file that is nothing else."""
    source: Source | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Loaded:
    """All that one text held: the good objects, in order, and what was wrong with the others."""

    manifests: tuple[Manifest, ...] = ()
    problems: tuple[Problem, ...] = ()
    mesh_config: WrittenMeshConfig | None = None
    broken: frozenset[ObjectRef] = frozenset()
    """Objects that were named and could not be used. Their last good form stays in force."""
    incomplete: bool = False
    """Part of the text could not be read at all, so that an object that is not here may still be meant to exist."""
    resource_version: str = ""
    """`metadata.resourceVersion` of the `List` that the text was, or ""."""

    @classmethod
    def unread(cls, problem: Problem) -> Loaded:
        """Of what is there and can't be read: whatever it held may still be meant."""
        return cls(problems=(problem,), incomplete=True)


def locate(problem: Problem, manifest: Manifest | None) -> Problem:
    """What names no more than its object's line, with the line of its field."""
    if manifest is None or not problem.field or problem.source != manifest.source:
        return problem
    return replace(problem, source=manifest.at(problem.field))
