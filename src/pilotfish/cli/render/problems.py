"""Problems: a line each, file and line first, as compilers write them, so that editors and eyes find the place."""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.cli.render.table import Table, table
from pilotfish.runtime.control.views import ProblemView


def render_problem(problem: ProblemView) -> str:
    """`mesh.yaml:12: error: VirtualService vm/calculator spec.http[0]: the message [Reason]`."""
    where = f"{problem.source}: " if problem.source else ""
    what = " ".join(part for part in (render_object(problem), problem.field) if part)
    by = f" (refused by {', '.join(problem.proxies)})" if problem.proxies else ""
    return f"{where}{problem.severity}: {what}{': ' if what else ''}{problem.message}{by} [{problem.reason}]"


def render_problems(problems: Iterable[ProblemView]) -> Table:
    """For `get problems`."""
    rows = (
        (problem.severity, problem.source or "-", render_object(problem) or "-", problem.field or "-", problem.message)
        for problem in problems
    )
    return table(("SEVERITY", "SOURCE", "OBJECT", "FIELD", "MESSAGE"), rows)


def render_object(problem: ProblemView) -> str:
    """`VirtualService vm/calculator`, or ""."""
    place = f"{problem.namespace}/" if problem.namespace else ""
    return f"{problem.kind} {place}{problem.name}" if problem.kind else ""
