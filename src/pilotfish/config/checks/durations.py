"""Durations as Envoy takes them from Istio's kinds.

Source: https://istio.io/latest/docs/reference/config/networking/ ("must be at least 1ms")
"""

from __future__ import annotations

from pilotfish.config.report import Report
from pilotfish.model import Duration

_MILLISECOND = 10**6


def check_duration(duration: Duration | None, field: str, report: Report, *, may_be_zero: bool = False) -> None:
    if duration is None or (may_be_zero and duration.nanos == 0):
        return
    if duration.nanos < _MILLISECOND or duration.nanos % _MILLISECOND:
        what = f"{duration} is not a whole number of milliseconds"
        least = "0s, which switches it off, or 1ms or more" if may_be_zero else "1ms or more"
        report.invalid(field, what if duration.nanos > 0 else f"{duration} is too short", f"write {least}")
