"""The annotation that says which endpoints of a service are asked first.

Source: https://istio.io/latest/docs/ambient/usage/traffic-distribution/
"""

from __future__ import annotations

from typing import Final

from pilotfish.config.kubernetes import TRAFFIC_DISTRIBUTION, Metadata
from pilotfish.config.report import Report

_KNOWN: Final = ("PreferSameZone", "PreferSameNode", "PreferClose", "Any")


def check_traffic_distribution(metadata: Metadata, report: Report, field: str = "") -> None:
    """`field`: the Service's own, which counts before it."""
    stated = metadata.annotations.get(TRAFFIC_DISTRIBUTION)
    if stated is None:
        return
    place = f"metadata.annotations[{TRAFFIC_DISTRIBUTION}]"
    if field:
        report.warning(place, "UnusedField", "spec.trafficDistribution counts before it; remove one of the two")
    elif stated.lower() not in ("", *map(str.lower, _KNOWN)):
        what = f"{stated!r} is none of its values, so any endpoint is called, wherever it is"
        report.warning(place, "InvalidValue", f"{what}; write one of {', '.join(_KNOWN)}")
