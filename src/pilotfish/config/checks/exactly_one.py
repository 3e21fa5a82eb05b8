"""Fields of which exactly one may be set, as the APIs have them wherever a value has several forms."""

from __future__ import annotations

from collections.abc import Mapping

from pilotfish.config.report import Report


def check_exactly_one(fields: Mapping[str, object], parent: str, report: Report) -> None:
    """None stands for a field that is not set."""
    given = [name for name, value in fields.items() if value is not None]
    names = ", ".join(fields)
    if not given:
        report.invalid(parent, f"none of {names} is set", "set one")
    elif len(given) > 1:
        report.invalid(parent, f"{' and '.join(given)} are set at once", f"set exactly one of {names}")
