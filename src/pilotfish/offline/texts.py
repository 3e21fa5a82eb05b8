"""The texts that objects were read from: at which column a field stands."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pilotfish.model import Problem


class Texts:
    """By file. They are looked into only for what has a Problem."""

    def __init__(self, contents: Mapping[str, str]) -> None:
        self._contents = contents
        self._lines: dict[str, list[str]] = {}

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

    def _split(self, file: str) -> list[str]:
        if file not in self._lines:
            self._lines[file] = self._contents.get(file, "").splitlines()
        return self._lines[file]
