"""Each file of `problems/` says, on the line where a problem belongs, which one: `#! SEVERITY REASON FIELD`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pilotfish.config import load

FILES = sorted((Path(__file__).parent / "problems").glob("*.yaml"))
_EXPECTED = re.compile(r"#! (\w+) (\w+) (.+?)(?= #!|$)")


def _expected(text: str) -> list[tuple[int, str, str, str]]:
    return sorted(
        (number, severity, reason, "" if field == "-" else field)
        for number, line in enumerate(text.splitlines(), 1)
        for severity, reason, field in _EXPECTED.findall(line)
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_exactly_these_problems_on_these_lines(path: Path) -> None:
    text = path.read_text()
    found = [
        (p.source.line if p.source else 0, str(p.severity), p.reason, p.field) for p in load(text, path.name).problems
    ]
    assert sorted(found) == _expected(text)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_objects_with_errors_are_broken_and_the_others_are_used(path: Path) -> None:
    loaded = load(path.read_text(), path.name)
    wrong = {problem.ref for problem in loaded.problems if problem.severity == "error" and problem.ref is not None}
    assert loaded.broken == wrong
    assert not wrong & {manifest.ref for manifest in loaded.manifests}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_message_names_consequence_and_remedy(path: Path) -> None:
    for problem in load(path.read_text(), path.name).problems:
        assert len(problem.message) > 30, problem
