"""What a schema can't say about one object, kind by kind.

    struct ─check─▶ Problems in a Report

Only what a single object shows; what takes several is the mesh's to see.
"""

from __future__ import annotations

from pilotfish.config.manifest import Kind
from pilotfish.config.report import Report


def check(resource: Kind, report: Report) -> None:
    """Adds what is wrong with the object to the report."""
