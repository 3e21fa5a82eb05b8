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
    words = config.split("/")
    kind = _KINDS.get(words[-2]) if len(words) >= _WORDS and words[-4] == "namespaces" else None
    return kind.ref(words[-3], words[-1]) if kind is not None else None


def find_written(trace: Trace) -> Owners:
    """What the proxies say themselves, of which nobody knows the files."""
    found = ((step, _parse(step.written.config)) for step in trace.steps)
    return {step.id: Owner(*words, step.written.field) for step, words in found if words is not None}


def _parse(config: str) -> tuple[str, str, str] | None:
    """(kind, namespace, name), also of a kind that is not known here."""
    words = config.split("/")
    if len(words) < _WORDS or words[-4] != "namespaces":
        return None
    kind = _KINDS.get(words[-2])
    return str(kind) if kind is not None else words[-2], words[-3], words[-1]
