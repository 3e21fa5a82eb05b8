"""Files as their user sees them: from the working folder, where they lie below it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from pilotfish.runtime.control.views import Overview, ProblemView

V = TypeVar("V", bound=Overview)


def near(problem: ProblemView) -> ProblemView:
    path, here = Path(problem.source), Path.cwd()
    return (
        msgspec.structs.replace(problem, source=str(path.relative_to(here))) if path.is_relative_to(here) else problem
    )


def near_all(view: V) -> V:
    return msgspec.structs.replace(view, problems=tuple(near(problem) for problem in view.problems))
