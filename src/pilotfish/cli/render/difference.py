"""What a change would change → text: a unified diff of the objects, then the proxies and their resources, then the
requests that go another way. Or the same as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import unified_diff
from typing import TYPE_CHECKING, Any

from pilotfish.cli.render.documents import render_document
from pilotfish.cli.render.table import table
from pilotfish.explain.words import plain

if TYPE_CHECKING:
    from pilotfish.cli.diff_ways import ChangedWay, Told
    from pilotfish.offline.difference import Difference, ObjectChange

_MOST_NAMES = 3
"""Proxies that change alike, by name; the others are counted."""


_ABSENT = "nothing: who asks is not there"


def build_document(difference: Difference, ways: tuple[ChangedWay, ...]) -> dict[str, Any]:
    """For programs."""
    return {
        "objects": [
            {
                "kind": str(change.ref.kind),
                "namespace": change.ref.namespace,
                "name": change.ref.name,
                "before": change.before,
                "after": change.after,
                "replacesPods": change.replaces_pods,
            }
            for change in difference.objects
        ],
        "proxies": [
            {
                "proxies": list(names),
                "changes": [{"type": each.type, "name": each.name, "change": each.what} for each in changes],
            }
            for names, changes in difference.proxies
        ],
        "ways": [_way(each) for each in ways],
    }


def _way(way: ChangedWay) -> dict[str, Any]:
    answers = {"before": _told(way.before), "after": _told(way.after)}
    return {"request": _request(way), "count": way.asked.count, **answers}


def _request(way: ChangedWay) -> dict[str, Any]:
    told = way.before or way.after
    request: dict[str, Any] = told.document["request"] if told is not None else {}
    return request


def _told(told: Told | None) -> dict[str, Any] | None:
    return {"answer": told.report.answer, "outcomes": told.document["outcomes"]} if told is not None else None


def render_difference(difference: Difference, ways: tuple[ChangedWay, ...] = ()) -> str:
    parts = ["".join(_object(change)) for change in difference.objects]
    if difference.proxies:
        rows = (
            (_names(names), change.type, change.name, change.what)
            for names, changes in difference.proxies
            for change in changes
        )
        parts.append(table(("PROXY", "TYPE", "RESOURCE", "CHANGE"), rows).text())
    parts += (
        f"{change.ref.kind.qualified}/{change.ref.name}: its pods are replaced by others; that is not in the above\n"
        for change in difference.objects
        if change.replaces_pods
    )
    parts += ["".join(map(_render_way, ways))] if ways else []
    return "\n".join(parts)


def _render_way(way: ChangedWay) -> str:
    told = way.before or way.after
    asked = f"{told.report.source} → {told.report.asked}" if told is not None else ""
    lines = (
        f"{asked} ({way.asked.count} times)" if way.asked.count > 1 else asked,
        f"  - {way.before.report.answer if way.before is not None else _ABSENT}",
        f"  + {way.after.report.answer if way.after is not None else _ABSENT}",
    )
    return "".join(f"{plain(line)}\n" for line in lines)


def _object(change: ObjectChange) -> Iterator[str]:
    name = f"{change.ref.kind.qualified}/{change.ref.namespace or '-'}/{change.ref.name}"
    before = render_document(change.before, "yaml").splitlines(True) if change.before is not None else []
    after = render_document(change.after, "yaml").splitlines(True)
    source = "/dev/null" if change.before is None else f"live/{name}"
    return unified_diff(before, after, source, f"given/{name}")


def _names(names: tuple[str, ...]) -> str:
    more = f" +{len(names) - _MOST_NAMES}" if len(names) > _MOST_NAMES else ""
    return f"{','.join(names[:_MOST_NAMES])}{more}"
