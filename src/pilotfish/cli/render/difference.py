"""What a change would change → text: a unified diff of the objects, then the proxies and their resources."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import unified_diff
from typing import TYPE_CHECKING

from pilotfish.cli.render.documents import render_document
from pilotfish.cli.render.table import table

if TYPE_CHECKING:
    from pilotfish.offline.difference import Difference, ObjectChange

_MOST_NAMES = 3
"""Proxies that change alike, by name; the others are counted."""


def render_difference(difference: Difference) -> str:
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
    return "\n".join(parts)


def _object(change: ObjectChange) -> Iterator[str]:
    name = f"{change.ref.kind.qualified}/{change.ref.namespace or '-'}/{change.ref.name}"
    before = render_document(change.before, "yaml").splitlines(True) if change.before is not None else []
    after = render_document(change.after, "yaml").splitlines(True)
    source = "/dev/null" if change.before is None else f"live/{name}"
    return unified_diff(before, after, source, f"given/{name}")


def _names(names: tuple[str, ...]) -> str:
    more = f" +{len(names) - _MOST_NAMES}" if len(names) > _MOST_NAMES else ""
    return f"{','.join(names[:_MOST_NAMES])}{more}"
