"""How one object of the user's is named, a place in it, and where it was written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pilotfish.model.kind import Kind


@dataclass(frozen=True, slots=True, order=True)
class ObjectRef:
    """A Kubernetes object's identity. It is made by its kind: `SERVICE.ref("vm", "calculator")`."""

    kind: Kind
    namespace: str
    """"" for kinds that have none."""
    name: str
    cluster: str = ""
    """The one that it is in; "" is this one."""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class FieldRef:
    """A place in an object: what it says there."""

    object: ObjectRef
    field: str
    """The field's path, as in a Problem: `spec.http[0].match[1]`."""

    def __str__(self) -> str:
        return f"{self.object} {self.field}"


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """Where an object, or a field of it, was written. `line` counts from 1; `file` is "-" for standard input, or
    may be a URL."""

    file: str
    line: int

    @property
    def is_file(self) -> bool:
        """It lies in a folder of this machine."""
        return self.file != "-" and "://" not in self.file

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    @classmethod
    def parse(cls, text: str) -> Source | None:
        """The reverse of `str`; None if `text` has no line number."""
        file, _, line = text.rpartition(":")
        return cls(file, int(line)) if file and line.isdecimal() else None
