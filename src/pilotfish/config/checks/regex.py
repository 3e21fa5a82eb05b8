"""Whether a text is a regular expression to Envoy: RE2 is asked, the engine that Envoy matches with.

Source: https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import re
from typing import Final

import re2

from pilotfish.model.wellknown import LARGEST_REGEX_PROGRAM

LONGEST: Final = 1024
"""Istio's limit. Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#StringMatch"""
_MEMORY: Final = 2 * 2**20
"""Bytes for a program: as many steps as Envoy takes fit, and what has far more is given up after 10 ms, not 200."""


def find_fault(pattern: str) -> str | None:
    """What RE2, or Envoy's bound on it, says against the pattern; None where it is taken."""
    if len(pattern) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        size = re2.compile(pattern, options).programsize
    except re2.error as error:
        return f"RE2 says {error.args[0].decode(errors='replace')!r}"
    if size > LARGEST_REGEX_PROGRAM:
        return f"it comes to a program of {size} steps, and Envoy takes {LARGEST_REGEX_PROGRAM}"
    return None


def find_fault_in_substitution(text: str, pattern: str) -> str | None:
    """What RE2 says against a text that stands in for what a good pattern finds."""
    groups = re2.compile(pattern).groups
    for escape in re.finditer(r"\\(.?)", text, re.DOTALL):
        if not escape[1].isdecimal() and escape[1] != "\\":
            return f"{escape[0]!r} is neither a group such as \\1 nor \\\\"
        if escape[1].isdecimal() and int(escape[1]) > groups:
            return f"there is no group {escape[0]}, for the expression has {groups}"
    return None
