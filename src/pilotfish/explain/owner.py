"""Whose a step is: the user's object, the field of it that decided, and where that was written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from pilotfish.explain.trace import Trace
from pilotfish.model import ObjectRef, Source
from pilotfish.model.kinds import KINDS

_KINDS: Final = {kind.path: kind for kind in KINDS}
_WORDS: Final = 5


@dataclass(frozen=True, slots=True)
class Owner:
    kind: str
    namespace: str
    name: str
    field: str = ""
    """`spec.http[1].route[0]`; "" where no more than the object is known."""
    file: str = ""
    line: int = 0
    """Of the field; 0: not known."""

    @classmethod
    def of(cls, ref: ObjectRef, field: str, source: Source | None) -> Owner:
        file, line = (source.file, source.line) if source is not None else ("", 0)
        return cls(str(ref.kind), ref.namespace, ref.name, field, file, line)

    def document(self) -> Mapping[str, object]:
        where = {"file": self.file, "line": self.line} if self.file else {}
        field = {"field": self.field} if self.field else {}
        return {"kind": self.kind, "namespace": self.namespace, "name": self.name, **where, **field}

    def __str__(self) -> str:
        return " ".join(word for word in (self.object, self.where, self.field) if word)

    @property
    def object(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def where(self) -> str:
        """`FILE:LINE`; "" where it is not known."""
        return f"{self.file}:{self.line}" if self.file else ""


Owners: TypeAlias = Mapping[int, Owner]
"""By a step's id."""
FindOwners: TypeAlias = Callable[[Trace], Owners]


def find_ref(config: str) -> ObjectRef | None:
    """The object of a path that resources carry: `/apis/networking.istio.io/v1/namespaces/vm/virtual-service/x`. None
    for what is no such path, or of a kind that is not known here."""
    kind, namespace, name = _parse(config)
    found = _KINDS.get(kind)
    return found.ref(namespace, name) if found is not None else None


def find_written(trace: Trace) -> Owners:
    """What the proxies say themselves, of which nobody knows the files."""
    found: dict[int, Owner] = {}
    for step in trace.steps:
        kind, namespace, name = _parse(step.written.config)
        if name:
            found[step.id] = Owner(str(_KINDS.get(kind, kind)), namespace, name, step.written.field)
    return found


def _parse(config: str) -> tuple[str, str, str]:
    """(kind as in the path, namespace, name), also of a kind that is not known here; all "" for what is no path."""
    words = config.split("/")
    if len(words) < _WORDS or words[-4] != "namespaces":
        return "", "", ""
    return words[-2], words[-3], words[-1]
