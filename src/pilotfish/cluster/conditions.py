"""What stands in the status of Istio's kinds: whether an object is in force, and what is wrong with it.

    Verdict, the status as it is ─merge─▶ the status as it is to be; None where it is so already

    status:
      observedGeneration: 3
      conditions:
      - {type: Reconciled, status: "False", reason: RefusedByEnvoy, message: ..., observedGeneration: 3}
      - {type: PassedAnalysis, status: "False", reason: errorsFound, message: ...}
      validationMessages:
      - {level: ERROR, type: {name: UnknownHost}}

The form is Istio's, of whose `validationMessages` the CRDs have level and type alone: the words are in the condition.
What others write into a status stays. Source: https://istio.io/latest/docs/reference/config/config-status/ and
https://istio.io/latest/docs/reference/config/meta/v1beta1/istio-status/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pilotfish.model import Problem, Severity

RECONCILED: Final = "Reconciled"
PASSED: Final = "PassedAnalysis"
PROPAGATING: Final = "stillPropagating"
_OURS: Final = (RECONCILED, PASSED)
_LONGEST: Final = 2000
"""Characters of a message."""
_MOST: Final = 20
"""Problems that are named."""
_LEVELS: Final = {Severity.ERROR: "ERROR", Severity.WARNING: "WARNING", Severity.INFO: "INFO"}


@dataclass(frozen=True, slots=True)
class Told:
    """A problem of one object, and how many proxies have refused what follows from it."""

    problem: Problem
    proxies: int = 0

    @property
    def keeps_out(self) -> bool:
        """The object, as it is written, is not in force."""
        return self.problem.severity is Severity.ERROR


@dataclass(frozen=True, slots=True)
class Verdict:
    """On one object. It compares: what is the same is not written again."""

    generation: int
    """Of the form that is judged; 0 where that is not known."""
    told: tuple[Told, ...] = ()
    is_settled: bool = True
    """All proxies have what follows from it, or have refused it."""
    addresses: tuple[tuple[str, str], ...] = ()
    """(host, address), of a ServiceEntry whose hosts were given some."""

    @property
    def is_good(self) -> bool:
        return not self.told and self.is_settled

    @property
    def keeps_out(self) -> bool:
        return any(each.keeps_out for each in self.told)


def merge(verdict: Verdict, generation: int, status: Mapping[str, Any], time: str) -> dict[str, Any] | None:
    """What a merge patch makes of the status: `conditions`, `validationMessages`, `observedGeneration`, `addresses`.

    `generation`: of the object that is written to, where the verdict knows none. `time`: now, as Kubernetes writes it.
    """
    seen = verdict.generation or generation
    before = [each for each in _list(status.get("conditions")) if isinstance(each, Mapping)]
    mine = [_dated(each, before, seen, time) for each in (_reconciled(verdict), _passed(verdict))]
    messages = [_message(told.problem) for told in verdict.told[:_MOST]]
    wanted = {
        "conditions": [*(each for each in before if each.get("type") not in _OURS), *mine],
        "validationMessages": messages,
        "observedGeneration": seen,
    }
    if verdict.addresses:
        wanted["addresses"] = [{"host": host, "value": value} for host, value in verdict.addresses]
    is_so = (
        _same(mine, before)
        and (not verdict.addresses or status.get("addresses") == wanted["addresses"])
        and _list(status.get("validationMessages")) == messages
        and str(status.get("observedGeneration")) == str(seen)
    )
    return None if is_so else wanted


def _reconciled(verdict: Verdict) -> dict[str, Any]:
    out = next((told for told in verdict.told if told.keeps_out), None)
    if out is not None:
        refused = f"; refused by {_count(out.proxies, 'proxy', 'proxies')}" if out.proxies else ""
        return _condition(RECONCILED, False, out.problem.reason, f"{_words(out.problem)}{refused}")
    if not verdict.is_settled:
        return _condition(RECONCILED, False, PROPAGATING, "not all proxies have acknowledged it yet")
    return _condition(RECONCILED, True, "upToDate", "in force in all proxies")


def _passed(verdict: Verdict) -> dict[str, Any]:
    problems = [told.problem for told in verdict.told]
    if not problems:
        return _condition(PASSED, True, "noErrorsFound", "nothing is wrong with it")
    count = {level: sum(each.severity is level for each in problems) for level in Severity}
    texts = [_words(each) for each in problems[:_MOST]]
    more = f"\nand {len(problems) - _MOST} more" if len(problems) > _MOST else ""
    if count[Severity.ERROR]:
        return _condition(PASSED, False, "errorsFound", "\n".join(texts) + more)
    reason = "warningsFound" if count[Severity.WARNING] else "notesFound"
    return _condition(PASSED, True, reason, "\n".join(texts) + more)


def _condition(type: str, is_so: bool, reason: str, message: str) -> dict[str, Any]:
    short = message if len(message) <= _LONGEST else f"{message[: _LONGEST - 1]}…"
    return {"type": type, "status": str(is_so), "reason": reason, "message": short}


def _dated(mine: dict[str, Any], before: Iterable[Mapping[str, Any]], generation: int, time: str) -> dict[str, Any]:
    """With the time since when it is so, which is not that of each time when it is said."""
    old = _of(mine["type"], before)
    since = old.get("lastTransitionTime") if old.get("status") == mine["status"] else None
    return {**mine, "lastTransitionTime": since or time, "observedGeneration": generation}


def _same(mine: list[dict[str, Any]], before: list[Mapping[str, Any]]) -> bool:
    return all(_said(each) == _said(_of(each["type"], before)) for each in mine)


def _of(type: str, conditions: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    return next((each for each in conditions if each.get("type") == type), {})


def _said(condition: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(str(condition.get(name)) for name in ("status", "reason", "message", "observedGeneration"))


def _words(problem: Problem) -> str:
    return f"{problem.field}: {problem.message}" if problem.field else problem.message


def _message(problem: Problem) -> dict[str, Any]:
    return {"level": _LEVELS[problem.severity], "type": {"name": problem.reason}}


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
