"""Why a document can't be read or used, where that is no slip in it: a template, a variable, a tab.

What the reader says of such a text leads nowhere: that `{` begins a mapping, that a port is no number.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from pilotfish.config.piece import Piece
from pilotfish.model import Problem, Severity, Source

_LARGEST = 2**21
"""Characters of a text that is looked at once more."""
_ACTION = re.compile(r"\{\{-?\s*(?:[.$\"/]|[a-z]\w*\b)[^\n]*|\{%-? ")
"""Of Go's templates (Helm), and of Jinja's (Ansible). Source: https://pkg.go.dev/text/template"""
_VARIABLE = re.compile(r"""\$\{([A-Za-z_]\w*)(?::?[-=?+][^}]*)?\}|[\s"']\$([A-Z_][A-Z0-9_]*)\b""")
"""`${NAME}`, also with a default, and a `$NAME` that begins a value."""
_TAB = re.compile(r" *\t")
_MOST_NAMES = 5


class Explainer:
    """One text's; a template or a tab is said once of all of it."""

    def __init__(self, text: str, file: str) -> None:
        is_suspect = len(text) <= _LARGEST and ("{{" in text or "{%" in text or "$" in text or "\t" in text)
        self._lines = text.splitlines() if is_suspect else []
        self._file = file
        self._said: set[str] = set()

    def explain(self, piece: Piece, first: int, is_read: bool) -> Piece:
        """`first`: the line that its document begins on. `is_read`: the document is YAML."""
        errors = [problem for problem in piece.problems if problem.severity is Severity.ERROR]
        if not self._lines or not errors:
            return piece
        lines = [problem.source.line for problem in errors if problem.source is not None]
        within = lines if is_read else self._document(first)
        if at := self._find(_ACTION, within):
            return self._instead(piece, errors, self._template(at))
        if not is_read and (at := self._find_tab(within)):
            return self._instead(piece, errors, self._tab(at, errors[0]))
        unfilled = [p for p in errors if p.source is not None and _VARIABLE.search(self._line(p.source.line))]
        if unfilled:
            return self._instead(piece, unfilled, self._variables(unfilled))
        return piece

    def _line(self, number: int) -> str:
        return self._lines[number - 1] if 0 < number <= len(self._lines) else ""

    def _document(self, first: int) -> Sequence[int]:
        last = first
        while last < len(self._lines) and not self._line(last + 1).startswith("---"):
            last += 1
        return range(first, last + 1)

    def _find(self, pattern: re.Pattern[str], numbers: Iterable[int]) -> int:
        return next((number for number in numbers if pattern.search(self._line(number))), 0)

    def _find_tab(self, numbers: Iterable[int]) -> int:
        return next((number for number in numbers if _TAB.match(self._line(number))), 0)

    def _instead(self, piece: Piece, of: Sequence[Problem], problem: Problem) -> Piece:
        kept = tuple(other for other in piece.problems if other not in of)
        is_new = problem.reason not in self._said
        self._said.add(problem.reason)
        return replace(piece, problems=(*kept, problem) if is_new else kept)

    def _template(self, line: int) -> Problem:
        action = self._line(line).strip()[:60]
        message = (
            f"it is a template (`{action}`) and no manifest yet, so nothing of it is used; render it and give what "
            "comes out: `helm template CHART | pilotfish up -`"
        )
        return Problem(None, "", "Template", message, Severity.WARNING, Source(self._file, line))

    def _tab(self, line: int, error: Problem) -> Problem:
        message = (
            "a tab stands where the line is indented, and YAML wants spaces there, so the document is not used; "
            f"replace the tabs: `expand -t 2 {self._file}`"
        )
        return Problem(error.ref, "", "SyntaxError", message, source=Source(self._file, line))

    def _variables(self, problems: Sequence[Problem]) -> Problem:
        at = [problem.source.line for problem in problems if problem.source is not None]
        names = dict.fromkeys(a or b for line in at for a, b in _VARIABLE.findall(self._line(line)))
        shown = ", ".join(f"${{{name}}}" for name in list(names)[:_MOST_NAMES])
        message = (
            f"{shown} {'is' if len(names) == 1 else 'are'} not filled in, so the object is not used; fill it in and "
            f"give what comes out: `envsubst < {self._file} | pilotfish up -`"
        )
        first = problems[0]
        return Problem(first.ref, first.field, "UnfilledVariable", message, source=first.source)
