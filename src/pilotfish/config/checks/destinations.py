"""Destinations and their weights, which HTTP, TLS and TCP routes have alike."""

from __future__ import annotations

from collections.abc import Sequence

from pilotfish.config.checks.hosts import is_wildcard_domain
from pilotfish.config.checks.names import check_istio_label, check_port
from pilotfish.config.istio.common import Destination
from pilotfish.config.istio.virtual_service import HTTPRouteDestination, RouteDestination
from pilotfish.config.report import Report

_LARGEST_WEIGHT = 2**32 - 1


def check_destinations(
    routes: Sequence[HTTPRouteDestination | RouteDestination], field: str, what: str, report: Report
) -> None:
    """`field` is the rule's, `what` is what it routes: requests or connections."""
    if not routes:
        report.missing(f"{field}.route", f"say where the {what} go", of=field)
    for index, route in enumerate(routes):
        check_destination(route.destination, f"{field}.route[{index}].destination", report)
        if route.weight < 0:
            report.invalid(f"{field}.route[{index}].weight", f"{route.weight} is less than 0", "write 0 or more")
    total = sum(route.weight for route in routes)
    if len(routes) > 1 and total == 0:
        report.invalid(f"{field}.route", "the weights come to 0", "give one of the destinations a weight")
    if total > _LARGEST_WEIGHT:
        report.invalid(f"{field}.route", f"the weights come to {total}", f"keep the sum under {_LARGEST_WEIGHT}")


def check_destination(destination: Destination, field: str, report: Report) -> None:
    if destination.host == "*" or not is_wildcard_domain(destination.host):
        report.invalid(f"{field}.host", f"{destination.host!r} is no host", "name a service, such as reviews")
    if destination.subset:
        check_istio_label(destination.subset, f"{field}.subset", report)
    if destination.port is not None:
        check_port(destination.port.number, f"{field}.port.number", report)
