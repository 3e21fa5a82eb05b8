"""Whether a text is a regular expression to RE2, the engine that Envoy matches with.

Python's own engine takes other texts (look-around, back references, possessive repeats) and refuses some that RE2
takes (`\\pN`, `\\Q...\\E`, flags in the middle), so it can't be asked. Source:
https://github.com/google/re2/wiki/Syntax
"""

from __future__ import annotations

import re

LONGEST = 1024
"""Istio's limit. Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#StringMatch"""

_ESCAPE = re.compile(
    r"\\(?:x[0-9A-Fa-f]{2}|x\{[0-9A-Fa-f]{1,6}\}|0[0-7]{0,2}|[1-7][0-7]{1,2}"
    r"|[pP](?:\{\^?[A-Za-z_]+\}|[A-Z])|[abfnrtvdDsSwWBAzC]|[^A-Za-z0-9])",
    re.DOTALL,
)
_REPEAT = re.compile(r"[*+?]|\{([0-9]+)(,)?([0-9]*)\}")
_GROUP = re.compile(r"\(\?(?:P?<[A-Za-z_][A-Za-z0-9_]*>|[imsU]*(?:-[imsU]+)?:)|\((?!\?)")
_FLAGS = re.compile(r"\(\?[imsU]*(?:-[imsU]+)?\)")
_POSIX = re.compile(r"\[:\^?[a-z]+:\]")
_MOST_REPEATS = 1000


def find_fault(pattern: str) -> str | None:
    """What RE2 would say against the pattern; None where it would take it."""
    if len(pattern) > LONGEST:
        return f"it is longer than {LONGEST} characters"
    at = depth = 0
    operand = False
    while at < len(pattern):
        if pattern.startswith("\\Q", at):
            end = pattern.find("\\E", at)
            at, operand = (len(pattern) if end < 0 else end + 2), True
        elif group := _GROUP.match(pattern, at):
            at, depth, operand = group.end(), depth + 1, False
        elif flags := _FLAGS.match(pattern, at):
            at, operand = flags.end(), False
        elif repeat := _REPEAT.match(pattern, at):
            fault = _fault_of_repeat(repeat, operand)
            if fault:
                return fault
            at = repeat.end() + pattern.startswith("?", repeat.end())
            operand = False
        else:
            step = _step(pattern, at)
            if isinstance(step, str):
                return step
            depth -= pattern[at] == ")"
            operand = pattern[at] != "|"
            at = step
        if depth < 0:
            return "it closes a group that is not open"
    return "a group is not closed" if depth else None


def _fault_of_repeat(repeat: re.Match[str], operand: bool) -> str | None:
    if not operand:
        return f"there is nothing for {repeat[0]!r} to repeat"
    if repeat[1] is None:
        return None
    least, most = int(repeat[1]), int(repeat[3] or repeat[1])
    if max(least, most) > _MOST_REPEATS or least > most:
        return f"{repeat[0]} is no number of repeats (1000 at most)"
    return None


def _step(pattern: str, at: int) -> int | str:
    """Where the single character, escape or class at `at` ends; or what is wrong with it."""
    if pattern[at] == "\\":
        escape = _ESCAPE.match(pattern, at)
        return escape.end() if escape else f"RE2 knows no {pattern[at : at + 2]!r}"
    if pattern.startswith("(?", at):
        return f"RE2 knows no group {pattern[at : at + 4]!r} (nor look-around)"
    return _step_class(pattern, at) if pattern[at] == "[" else at + 1


def _step_class(pattern: str, at: int) -> int | str:
    at += 2 if pattern.startswith("[^", at) else 1
    first = True
    while first or not pattern.startswith("]", at):
        lower = _step_in_class(pattern, at)
        if isinstance(lower, str):
            return lower
        if pattern.startswith("-", lower) and lower + 1 < len(pattern) and pattern[lower + 1] != "]":
            upper = _step_in_class(pattern, lower + 1)
            if isinstance(upper, str):
                return upper
            if lower - at == 1 and upper - lower == 2 and pattern[at] > pattern[lower + 1]:
                return f"the range {pattern[at:upper]} is upside down"
            lower = upper
        at, first = lower, False
    return at + 1


def _step_in_class(pattern: str, at: int) -> int | str:
    if at >= len(pattern):
        return "a class is not closed"
    if posix := _POSIX.match(pattern, at):
        return posix.end()
    return _step(pattern, at) if pattern[at] == "\\" else at + 1
