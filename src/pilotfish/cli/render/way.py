"""A request's way for a terminal: the answer first, then a line a step; with `verbose` the evidence and who lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import click

_COLOURS: Final = {"taken": "green", "refused": "red", "unknown": "yellow"}
_BROKEN: Final = {"reset": "connection reset", "refused": "refused", "timeout": "no answer", "unknown": "unknown"}
_QUIET: Final = frozenset({"chains", "connection", "loadBalancer", "address"})
"""Evidence that is told with `verbose` alone."""
_MARKS: Final = {"confirmed": " ✓", "contradicted": " ✗"}
Json = dict[str, Any]


def render_way(document: Json, verbose: bool) -> str:
    """Of a document of `explain.document`."""
    request = document["request"]
    lines = [click.style(answer(document), bold=True), ""]
    lines.append(f"{request['from']} → {request['to']}")
    lines += _tree(document, verbose)
    lines += _seen(document)
    return "\n".join(lines) + "\n"


def answer(document: Json) -> str:
    """`200 from calculator-v1 (50 %) or calculator-v2 (50 %)`, or why there is none."""
    outcomes = document["outcomes"]
    delivered = [each for each in outcomes if each["kind"] == "delivered"]
    parts = []
    for within, words in ((True, "answered by"), (False, "")):
        shares: Counter[str] = Counter()
        for each in delivered:
            if bool(each.get("pod")) is within:
                shares[each.get("pod") or each["cause"]] += each["probability"]
        named = [_share(name, part) for name, part in shares.most_common()]
        parts += [f"{words} {' or '.join(named)}".strip()] if named else []
    ends: Counter[str] = Counter()
    for each in outcomes:
        if each["kind"] != "delivered":
            ends[_ending(document, each)] += each["probability"]
    parts += [_share(name, part) for name, part in ends.most_common()]
    return "; or ".join(parts) or "nothing is known"


def _share(name: str, part: float) -> str:
    return name if part > 0.9999 else f"{name} ({part * 100:.3g} %)"


def _ending(document: Json, outcome: Json) -> str:
    words = [str(outcome["status"]) if "status" in outcome else _BROKEN[outcome["kind"]], outcome.get("flag", "")]
    said = " ".join(word for word in words if word)
    cause = outcome.get("cause", "")
    owner = _last_owner(document, outcome)
    by = f" by the proxy of {outcome['pod']}" if outcome.get("pod") else ""
    return f"{said}{by}: {cause}{f'; {owner} sends it there' if owner else ''}" if cause else said


def _last_owner(document: Json, outcome: Json) -> str:
    """Who led there: the nearest object on the way."""
    steps = document["steps"]
    at: int | None = outcome["lastStep"] if steps else None
    while at is not None:
        step = steps[at]
        if "owner" in step and step["stage"] == "route":
            return _owner(step["owner"])
        at = step["parent"]
    return ""


def _tree(document: Json, verbose: bool) -> Iterator[str]:
    steps = document["steps"]
    children: Counter[int | None] = Counter(step["parent"] for step in steps)
    depths: dict[int, int] = {}
    ends: dict[int, list[Json]] = {}
    for outcome in document["outcomes"]:
        ends.setdefault(outcome["lastStep"], []).append(outcome)
    place = ""
    for step in steps:
        parent = step["parent"]
        above = depths.get(parent, 0) if parent is not None else 0
        depths[step["id"]] = depth = above + (1 if parent is not None and children[parent] > 1 else 0)
        here = f"{step['pod'] or 'outside'} ({step['side']})"
        if here != place:
            place = here
            yield f"{'  ' * depth}{click.style(here, bold=True)}"
        yield from _lines(step, "  " * (depth + 1), verbose)
        for outcome in ends.get(step["id"], ()):
            yield f"{'  ' * (depth + 1)}{click.style('⇒', bold=True)} {_end(document, outcome)}"


def _seen(document: Json) -> Iterator[str]:
    """What became of the request that was really sent."""
    seen = document.get("live")
    if seen is None:
        return
    wrong = [step["name"] for step in document["steps"] if step.get("live") == "contradicted"]
    right = any(step.get("live") == "confirmed" for step in document["steps"])
    verdict = f"not as predicted: {', '.join(wrong)}" if wrong else "as predicted" if right else "not as predicted"
    said = ", ".join(f"{name} {value}" for name, value in seen.items() if name != "end" or "status" not in seen)
    yield ""
    shown = click.style(verdict, fg="green" if right and not wrong else "red")
    yield f"{click.style('sent:', bold=True)} {said}; {shown}"


def _end(document: Json, outcome: Json) -> str:
    if outcome["kind"] == "delivered":
        return _share("the app answers" if "pod" in outcome else outcome["cause"], outcome["probability"])
    return _share(_ending(document, outcome), outcome["probability"])


def _lines(step: Json, indent: str, verbose: bool) -> Iterator[str]:
    colour = _COLOURS[step["verdict"]]
    share = f" {step['probability'] * 100:.3g} %" if step["probability"] < 0.9999 else ""
    owner = f"  {click.style(_owner(step['owner']), dim=True)}" if "owner" in step else ""
    said = "; ".join(_evidence(step["evidence"], verbose))
    name = click.style(step["name"], fg=colour) + _MARKS.get(step.get("live", ""), "")
    yield f"{indent}{step['stage']:<15} {name}{share}{owner}{f'  {said}' if said else ''}"
    if verbose:
        for lost in step["rejected"]:
            why = f"not {lost['name']}: {lost['reason']}"
            yield f"{indent}{'':<15} {click.style(why, dim=True)}"


def _evidence(evidence: Json, verbose: bool) -> Iterator[str]:
    for key, value in evidence.items():
        if verbose or key not in _QUIET:
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            yield shown if key in ("why", "verdict", "rule", "detected") else f"{key} {shown}"


def _owner(owner: Json) -> str:
    where = f" {owner['file']}:{owner['line']}" if "file" in owner else ""
    return f"{owner['kind']} {owner['namespace']}/{owner['name']}{where}"
