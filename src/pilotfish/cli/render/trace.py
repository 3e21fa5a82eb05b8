"""What rules do with a connection, step by step: text as a tree of chains, or plain values for JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pilotfish.capture import Evaluation, Verdict, Visit

_MARKS = {"matched": "yes", "not matched": "no", "unknown": "?"}
_ENDS = {"returned": "returned ", "skipped": "not asked: "}


def render_trace(evaluation: Evaluation) -> str:
    """The verdict, then each hook with its chains; every rule with yes, no or ? and what decided."""
    verdict = evaluation.verdict
    by = f", by {verdict.rule}" if verdict.rule else ""
    lines = [str(evaluation.connection), f"=> {verdict}{by}"]
    if evaluation.mark != evaluation.connection.mark:
        lines.append(f"   with mark {evaluation.mark} ({evaluation.mark:#x})")
    return "\n".join((*lines, *_steps(evaluation.visited)))


def trace_document(evaluation: Evaluation) -> dict[str, object]:
    return {
        "connection": str(evaluation.connection),
        "verdict": _verdict_document(evaluation.verdict),
        "mark": evaluation.mark,
        "connectionMark": evaluation.connection_mark,
        "visited": [_visit_document(visit) for visit in evaluation.visited],
    }


def _steps(visited: tuple[Visit, ...]) -> Iterator[str]:
    hook, depth = "", 0
    for visit in visited:
        if visit.hook != hook:
            hook, depth = visit.hook, 0
            yield f"\n{hook}"
        indent = "  " * (depth + 1)
        if visit.rule is not None:
            number = visit.id.rpartition("/")[2]
            yield f"{indent}{number:>2} {_MARKS[visit.event]:4}{visit.rule}"
            yield f"{indent}       {visit.why}"
            continue
        if visit.event == "entered":
            # The kernel's own chains stand at the edge, however the one before was left.
            depth = 0 if "/" not in visit.why else depth
            yield f"{'  ' * (depth + 1)}{visit.id}"
            depth += 1
        else:
            depth = max(0, depth - 1)
            word = _ENDS.get(visit.event, "")
            yield f"{'  ' * (depth + 1)}{visit.id}: {word}{visit.why}"


def _verdict_document(verdict: Verdict) -> dict[str, object]:
    values = {field.name: getattr(verdict, field.name) for field in fields(verdict)}
    document = {name: value if isinstance(value, bool | int) else str(value) for name, value in values.items()}
    return {"kind": type(verdict).__name__.lower(), **document}


def _visit_document(visit: Visit) -> dict[str, object]:
    rule = {} if visit.rule is None else {"rule": str(visit.rule)}
    return {"event": str(visit.event), "hook": visit.hook, "id": visit.id, **rule, "why": visit.why}
