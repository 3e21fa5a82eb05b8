"""The only form in which a user's mistake is reported."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pilotfish.model.ref import ObjectRef, Source


class Severity(StrEnum):
    ERROR = "error"
    """The object is not used; its last good form, if there was one, stays in force."""
    WARNING = "warning"
    """The object is used, but not all of it does what its author may expect."""
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with what a user gave. The same value feeds `validate`, `status`, logs and a NACK."""

    ref: ObjectRef | None
    """The object; None where a document could not be read as one."""
    field: str
    """The field's path as in `spec.http[0].route[1].weight`; "" for the whole object."""
    reason: str
    """A CamelCase word for programs, such as UnknownField."""
    message: str
    """For people: the consequence, and the remedy. Object and field are added by `str`."""
    severity: Severity = Severity.ERROR
    source: Source | None = None

    def __str__(self) -> str:
        where = f"{self.source}: " if self.source else ""
        what = " ".join(str(part) for part in (self.ref, self.field) if part)
        return f"{where}{self.severity}: {what}{': ' if what else ''}{self.message} [{self.reason}]"
