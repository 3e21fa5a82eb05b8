"""Problems as an analyser reports them: with a code, a level, and the place in the text.

    Problem, the text's lines ─find─▶ Finding: under its own reason
                         ─find_coded─▶ Finding: under Istio's code where that means the same

Codes and levels: https://istio.io/latest/docs/reference/config/analysis/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import Final

from pilotfish.model import Kind, ObjectRef, Problem, Severity
from pilotfish.model.kinds import AUTHORIZATION_POLICY, DESTINATION_RULE, GATEWAY, SERVICE, SIDECAR, VIRTUAL_SERVICE
from pilotfish.offline.texts import Texts

SUPPRESS: Final = "galley.istio.io/analyze-suppress"
"""The annotation with codes, or `*`, that are not to be reported of its object."""


class Level(IntEnum):
    """istioctl's, the worst last."""

    INFO = 1
    WARNING = 2
    ERROR = 3

    def __str__(self) -> str:
        return self.name.capitalize()


_OF_SEVERITY: Final = {Severity.INFO: Level.INFO, Severity.WARNING: Level.WARNING, Severity.ERROR: Level.ERROR}


@dataclass(frozen=True, slots=True)
class _Row:
    code: str
    level: Level
    reasons: frozenset[str]
    kinds: frozenset[Kind] = frozenset()
    """None for any."""
    field: str = ""
    """How the field begins."""


def _row(code: str, level: Level, *reasons: str, kinds: Iterable[Kind] = (), field: str = "") -> _Row:
    return _Row(code, level, frozenset(reasons), frozenset(kinds), field)


_ROWS: Final = (
    _row("IST0002", Level.WARNING, "DeprecatedField"),
    *(
        _row("IST0101", Level.ERROR, "UnknownHost", "UnknownPort", "UnknownSubset", kinds=[VIRTUAL_SERVICE], field=each)
        for each in ("spec.http", "spec.tcp", "spec.tls")
    ),
    _row("IST0101", Level.ERROR, "NoWorkloads", kinds=[SIDECAR]),
    _row("IST0106", Level.ERROR, "InvalidValue", "MissingField", "WrongType", "UnknownField", "DuplicateKey"),
    _row("IST0109", Level.ERROR, "ConflictingVirtualService", kinds=[VIRTUAL_SERVICE]),
    _row("IST0110", Level.ERROR, "ConflictingSelector", kinds=[SIDECAR]),
    _row("IST0111", Level.ERROR, "ConflictingDefault", kinds=[SIDECAR]),
    _row("IST0116", Level.WARNING, "ConflictingProtocol", kinds=[SERVICE]),
    _row("IST0118", Level.INFO, "UndeclaredProtocol", kinds=[SERVICE]),
    _row("IST0137", Level.WARNING, "ConflictingTargetPort", kinds=[SERVICE]),
    _row("IST0101", Level.ERROR, "UnknownGateway", kinds=[VIRTUAL_SERVICE]),
    _row("IST0101", Level.ERROR, "UnknownSecret", kinds=[GATEWAY]),
    _row("IST0161", Level.ERROR, "UnusableSecret", kinds=[GATEWAY]),
    _row("IST0127", Level.WARNING, "NoWorkloads", kinds=[AUTHORIZATION_POLICY]),
    _row("IST0101", Level.ERROR, "UnknownNamespace", kinds=[AUTHORIZATION_POLICY]),
    _row("IST0149", Level.ERROR, "NoTokens", kinds=[VIRTUAL_SERVICE]),
    _row("IST0130", Level.WARNING, "UnusedRoute", kinds=[VIRTUAL_SERVICE]),
    _row("IST0131", Level.INFO, "ShadowedRoute", kinds=[VIRTUAL_SERVICE]),
    _row("IST0132", Level.WARNING, "UnknownGatewayHost", kinds=[VIRTUAL_SERVICE]),
    _row("IST0145", Level.ERROR, "ConflictingGatewayHost", "ConflictingGatewayPort", kinds=[GATEWAY]),
    _row("IST0162", Level.WARNING, "PortWithoutService", kinds=[GATEWAY]),
    _row("IST0173", Level.ERROR, "EmptySubset", kinds=[DESTINATION_RULE]),
    _row("IST0174", Level.WARNING, "UnknownHost", kinds=[DESTINATION_RULE]),
)
_BY_REASON: Final[Mapping[str, tuple[_Row, ...]]] = {
    reason: tuple(row for row in _ROWS if reason in row.reasons) for row in _ROWS for reason in row.reasons
}


@dataclass(frozen=True, slots=True)
class Finding:
    problem: Problem
    code: str
    """`IST0101`, or the Problem's reason."""
    level: Level
    column: int = 0
    """From 1; 0 where it is not known."""

    @property
    def is_istios(self) -> bool:
        return self.code != self.problem.reason


def find(problems: Iterable[Problem], texts: Texts | None = None) -> tuple[Finding, ...]:
    """Under their own reasons, each once, by file and line. `texts`: those of the files that are at hand."""
    return _listed(problems, texts or Texts({}), lambda problem: None)


def find_coded(problems: Iterable[Problem], texts: Texts | None = None) -> tuple[Finding, ...]:
    """As `find`, with Istio's codes and levels."""
    return _listed(problems, texts or Texts({}), _row_of)


def _listed(problems: Iterable[Problem], texts: Texts, row_of: Callable[[Problem], _Row | None]) -> tuple[Finding, ...]:
    found = (_found(problem, row_of(problem), texts) for problem in dict.fromkeys(problems))
    return tuple(sorted(found, key=_place))


def _found(problem: Problem, row: _Row | None, texts: Texts) -> Finding:
    column = texts.column(problem)
    if row is None:
        return Finding(problem, problem.reason, _OF_SEVERITY[problem.severity], column)
    return Finding(problem, row.code, row.level, column)


def _row_of(problem: Problem) -> _Row | None:
    row = next(filter(_fits(problem), _BY_REASON.get(problem.reason, ())), None)
    # A field that does no harm is no failed validation.
    is_harmless = row is not None and row.code == "IST0106" and problem.severity is not Severity.ERROR
    return None if is_harmless else row


def _fits(problem: Problem) -> Callable[[_Row], bool]:
    kind = problem.ref.kind if problem.ref is not None else None
    return lambda row: (not row.kinds or kind in row.kinds) and problem.field.startswith(row.field)


def _place(finding: Finding) -> tuple[str, int, str]:
    source = finding.problem.source
    return (source.file, source.line, finding.problem.field) if source else ("", 0, finding.problem.field)


# What is not wanted


@dataclass(frozen=True, slots=True)
class Suppression:
    """`CODE=KIND NAME[.NAMESPACE]`, as `istioctl analyze --suppress` has it; `*` stands for anything."""

    code: str
    object: str

    @classmethod
    def parse(cls, text: str) -> Suppression:
        """Raises ValueError."""
        code, equals, rest = text.partition("=")
        kind, _, name = rest.strip().partition(" ")
        if not (code.strip() and equals and kind and name.strip()):
            raise ValueError(f"{text!r} is not CODE=KIND NAME[.NAMESPACE], such as 'IST0101=VirtualService shop.vm'")
        return cls(code.strip(), f"{kind} {name.strip()}")

    def hides(self, finding: Finding) -> bool:
        ref = finding.problem.ref
        if ref is None or not fnmatchcase(finding.code, self.code):
            return False
        names = (f"{ref.kind} {ref.name}.{ref.namespace}", f"{ref.kind} {ref.name}")
        return any(fnmatchcase(name, self.object) for name in names)


def unsuppressed(
    findings: Iterable[Finding], suppressions: Iterable[Suppression], annotations: Callable[[ObjectRef], str]
) -> Iterator[Finding]:
    """`annotations`: the text of an object's annotation SUPPRESS, or ""."""
    asked = tuple(suppressions)
    for finding in findings:
        ref = finding.problem.ref
        said = [each.strip() for each in annotations(ref).split(",")] if ref is not None else []
        if not ({"*", finding.code} & set(said) or any(each.hides(finding) for each in asked)):
            yield finding
