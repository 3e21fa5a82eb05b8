"""Whether containers are images or processes, as an annotation says."""

from __future__ import annotations

from pilotfish.config.images import IMAGE, PROCESS, RUN
from pilotfish.config.kubernetes import Metadata
from pilotfish.config.report import Report


def check_run(metadata: Metadata, field: str, report: Report) -> None:
    """Of a pod or a Namespace; `field` is the way to the metadata."""
    said = metadata.annotations.get(RUN)
    if said not in (None, PROCESS, IMAGE):
        inner = f"{field}metadata.annotations[{RUN}]"
        report.invalid(inner, f"{said!r} is no way to run a pod", f"write {PROCESS} or {IMAGE}")
