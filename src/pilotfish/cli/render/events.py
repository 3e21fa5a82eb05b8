"""Events as kubectl shows them.

Source: k8s.io/kubernetes/pkg/printers/internalversion/printers.go (printEvent)
"""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.cli.render.age import parse_timestamp, render_age
from pilotfish.cli.render.objects import Unstructured, at
from pilotfish.cli.render.table import Table, table


def render_events(documents: Iterable[Unstructured], now: float) -> Table:
    """Each with the object that it is about."""
    rows = (
        (
            last_seen(each, now),
            str(at(each, "type") or ""),
            str(at(each, "reason") or ""),
            f"{str(at(each, 'involvedObject', 'kind') or '').lower()}/{at(each, 'involvedObject', 'name')}",
            " ".join(str(at(each, "message") or "").split()),
        )
        for each in documents
    )
    return table(("LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"), rows)


def last_seen(document: Unstructured, now: float) -> str:
    """`12s`, and of one that happened more than once `12s (x3 over 2m)`."""
    first, last = (parse_timestamp(at(document, name)) for name in ("firstTimestamp", "lastTimestamp"))
    age = "<unknown>" if last is None else render_age(now - last)
    count = at(document, "count")
    if isinstance(count, int) and count > 1 and first is not None:
        return f"{age} (x{count} over {render_age(now - first)})"
    return age
