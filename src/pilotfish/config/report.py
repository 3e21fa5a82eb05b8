"""Collects what is wrong with one object."""

from __future__ import annotations

from pilotfish.config.text import Positions
from pilotfish.model import ObjectRef, Problem, Severity, Source
from pilotfish.model.kinds import SECRET

MOST_PROBLEMS = 100
"""Of one object: nobody reads more of them, and what is counted alone costs nothing."""

_LONGEST_FIELD = 1_000
_LONGEST_MESSAGE = 2_000
"""Characters: a key or a value may be as long as the text."""


class Report:
    """The problems of one object, in the order in which they were found."""

    __slots__ = (
        "_file", "_positions", "_prefix", "_unsaid", "errors", "fixed_source", "incomplete_fields", "left_out",
        "nulls_are_zero", "problems", "ref",
    )  # fmt: skip

    def __init__(
        self,
        ref: ObjectRef | None,
        file: str,
        positions: Positions | None = None,
        prefix: str = "",
        fixed_source: Source | None = None,
    ) -> None:
        self.ref = ref
        self.problems: list[Problem] = []
        self.errors = 0
        """How many there are so far."""
        self.incomplete_fields: list[str] = []
        """Fields that an error has taken out: what is said about a parent of theirs would be a mere echo."""
        self.left_out: set[str] = set()
        """Fields that were written, are known, and do not stand in the struct."""
        self.nulls_are_zero = False
        """What null in a list or a map means in the object's API; False: nothing."""
        self.fixed_source = fixed_source
        self._file = file
        self._positions = positions
        self._prefix = prefix
        self._unsaid = False

    def error(self, field: str, reason: str, message: str) -> None:
        self.add(field, reason, message, Severity.ERROR)

    def invalid(self, field: str, what: str, remedy: str) -> None:
        """A value that the object can't be used with."""
        self.error(field, "InvalidValue", f"{what}, so the object is not used; {remedy}")

    def missing(self, field: str, remedy: str = "add it", *, of: str = "") -> None:
        """`of`: the parent whose other fields may stand in for it; nothing is said where an error took one out."""
        if of and self._is_echo(of):
            return
        self.error(field, "MissingField", f"the field is required, so the object is not used; {remedy}")

    def unsupported(self, field: str, what: str, remedy: str) -> None:
        """What the API has, and pilotfish refuses the object for."""
        self.error(field, "UnsupportedField", f"{what} is not supported yet, so the object is not used; {remedy}")

    def warning(self, field: str, reason: str, message: str) -> None:
        self.add(field, reason, message, Severity.WARNING)

    def add(self, field: str, reason: str, message: str, severity: Severity, line: int = 0) -> None:
        if len(self.problems) >= MOST_PROBLEMS and (self.errors or severity is not Severity.ERROR):
            self._unsaid = True
            return
        if self.incomplete_fields and self._is_echo(field):
            return
        self.errors += severity is Severity.ERROR
        field, message = _cut(field, _LONGEST_FIELD), _cut(message, _LONGEST_MESSAGE)
        self.problems.append(Problem(self.ref, field, reason, message, severity, self.source(field, line)))

    def take_out(self, field: str) -> None:
        """From here on, what is said about the field, what is inside of it, or a parent of it is left out."""
        if len(self.incomplete_fields) < MOST_PROBLEMS:
            self.incomplete_fields.append(field)

    def withdraw(self, field: str) -> None:
        """Warnings about the field, and about what is inside of it, turn out to be no news."""
        self.problems = [p for p in self.problems if p.severity is Severity.ERROR or not _within(p.field, field)]

    def source(self, field: str, line: int = 0) -> Source | None:
        """None where the object is from no file."""
        if self.fixed_source is not None or not self._file:
            return self.fixed_source
        if not line:
            line = self._positions.line(_join(self._prefix, field)) if self._positions else 1
        return Source(self._file, line)

    @property
    def is_secret(self) -> bool:
        """The object's values are never shown."""
        return self.ref is not None and self.ref.kind is SECRET

    def written(self, field: str) -> str | None:
        """A scalar as the user wrote it, unquoted."""
        return self._positions.text(_join(self._prefix, field)) if self._positions else None

    def in_order(self) -> tuple[Problem, ...]:
        """As they stand in the text."""
        found = sorted(self.problems, key=lambda problem: problem.source.line if problem.source else 0)
        if self._unsaid:
            message = f"the object has more problems than these {MOST_PROBLEMS}; mend these first"
            found.append(Problem(self.ref, "", "TooManyProblems", message, found[-1].severity, found[-1].source))
        return tuple(found)

    def is_taken_out(self, field: str) -> bool:
        """The field or a parent of it."""
        return any(_within(field, taken) for taken in self.incomplete_fields)

    def _is_echo(self, field: str) -> bool:
        return any(_within(taken, field) or _within(field, taken) for taken in self.incomplete_fields)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


def _within(field: str, parent: str) -> bool:
    return field.startswith(parent) and (len(field) == len(parent) or not parent or field[len(parent)] in ".[")


def _join(prefix: str, field: str) -> str:
    return f"{prefix}.{field}" if prefix and field and not field.startswith("[") else prefix + field
