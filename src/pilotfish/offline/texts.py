"""The texts that objects were read from: at which line and column a field of one stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from pilotfish.config.text import Positions, read
from pilotfish.model import Problem, Source


class Texts:
    """By file. What they hold is looked up only for what has a Problem."""

    def __init__(self, contents: Mapping[str, str]) -> None:
        self._contents = contents
        self._lines: dict[str, list[str]] = {}
        self._positions: dict[str, dict[int, Positions]] = {}

    def locate(self, problem: Problem) -> Problem:
        """With the line of its field. What is wrong between objects is known by the lines of the objects alone."""
        source = problem.source
        if source is None or not problem.field or source.file not in self._contents:
            return problem
        positions = self._documents(source.file).get(source.line)
        if positions is None:
            return problem
        return replace(problem, source=Source(source.file, positions.line(problem.field)))

    def column(self, problem: Problem) -> int:
        """Of the field's name in its line, from 1, else of what the line begins with; 0 where there is no text."""
        source = problem.source
        lines = self._split(source.file) if source is not None else []
        if source is None or not 0 < source.line <= len(lines):
            return 0
        line = lines[source.line - 1]
        name = re.sub(r"\[\d+\]$", "", problem.field).rpartition(".")[2]
        named = re.search(rf"(?<![\w-])[\"']?{re.escape(name)}[\"']?\s*:", line) if name else None
        begins = re.match(r"[\s-]*", line)
        return 1 + (named.start() if named else begins.end() if begins else 0)

    def _documents(self, file: str) -> dict[int, Positions]:
        """By the line on which each begins, which is its object's."""
        if file not in self._positions:
            self._positions[file] = {found.line: found.positions for found in read(self._contents[file], file)}
        return self._positions[file]

    def _split(self, file: str) -> list[str]:
        if file not in self._lines:
            self._lines[file] = self._contents.get(file, "").splitlines()
        return self._lines[file]
