"""Paths of fields as Problems name them: `spec.ports[0].name`, `metadata.annotations[example.com/note]`."""

from __future__ import annotations

import re

_STEP = re.compile(r"\.?([^.\[\]]+)|\[([^\]]*)\]")
_LONGEST = 2_000
"""Characters: a key may be as long as the text, and nobody looks for more."""


def steps(path: str) -> list[str]:
    """The names of fields, indices and keys that lead to it, the outermost first."""
    return [name or key for name, key in _STEP.findall(path[:_LONGEST])]
