"""A census of manifests, for people and for programs."""

from __future__ import annotations

from typing import Any

from pilotfish.cli.render.findings import near_file
from pilotfish.cli.render.table import table
from pilotfish.model import Problem, Severity
from pilotfish.offline.census import Census

_MOST = 40


def render_census(census: Census) -> str:
    text = (
        f"{census.documents} documents in {census.files} files: {census.used} used, {census.warned} used with a "
        f"warning, {census.refused} refused; {census.others} are no part of a mesh\n"
    )
    for title, severity in (("REFUSED", Severity.ERROR), ("WARNED OF", Severity.WARNING)):
        ranked = census.ranked(severity)
        rows = [
            (str(each.documents), reason.reason, reason.kind or "-", reason.field or "-", _place(each.example),
             each.example.message if each.example else "")
            for reason, each in ranked[:_MOST]
        ]  # fmt: skip
        if rows:
            header = (title, "REASON", "KIND", "FIELD", "FIRST", "MESSAGE")
            more = f"... and {len(ranked) - _MOST} reasons more: -o json has all\n" if len(ranked) > _MOST else ""
            text += f"\n{table(header, rows).text()}{more}"
    return text


def _place(problem: Problem | None) -> str:
    source = problem.source if problem is not None else None
    return f"{near_file(source.file)}:{source.line}" if source is not None else "-"


def as_document(census: Census) -> dict[str, Any]:
    reasons = [
        {
            "documents": each.documents,
            "severity": str(reason.severity),
            "reason": reason.reason,
            "kind": reason.kind,
            "field": reason.field,
            "first": _place(each.example),
            "message": each.example.message if each.example else "",
        }
        for severity in (Severity.ERROR, Severity.WARNING)
        for reason, each in census.ranked(severity)
    ]
    return {
        "files": census.files,
        "documents": census.documents,
        "used": census.used,
        "warned": census.warned,
        "refused": census.refused,
        "others": census.others,
        "reasons": reasons,
    }
