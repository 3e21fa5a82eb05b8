"""HTTP routes are tried in the order in which they stand, and the first that matches takes the request.

Source: https://istio.io/latest/docs/reference/config/analysis/ist0130/ and https://istio.io/latest/docs/reference/config/analysis/ist0131/
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pilotfish.config.istio.common import StringMatch
from pilotfish.config.istio.virtual_service import HTTPMatchRequest, HTTPRoute
from pilotfish.config.report import Report

_EVERY_PATH = (None, StringMatch(prefix="/"), StringMatch(prefix=""), StringMatch(regex=".*"), StringMatch(regex="/.*"))


def check_order(routes: Sequence[HTTPRoute], field: str, report: Report) -> None:
    """A route, or a match of one, to which an earlier one leaves nothing. A delegate may leave something."""
    seen: dict[bytes, str] = {}
    takes_all = ""
    for index, route in enumerate(routes):
        where = f"{field}[{index}]"
        if takes_all:
            _report_unused(where, takes_all, report)
            continue
        lost = {at: first for at, match in enumerate(route.match) if (first := seen.get(_criteria(match)))}
        if route.match and len(lost) == len(route.match):
            _report_unused(where, lost[0], report)
        else:
            for at, first in lost.items():
                text = f"all requests that it matches are taken by {first}, so it has no effect; remove one"
                report.warning(f"{where}.match[{at}]", "ShadowedRoute", text)
        if route.delegate is None:
            for match in route.match:
                seen.setdefault(_criteria(match), where)
            if not route.match or any(map(_takes_all, route.match)):
                takes_all = where


def _report_unused(where: str, first: str, report: Report) -> None:
    text = f"{first} comes first and takes all requests that this one matches, so it has no effect; put it before that"
    report.warning(where, "UnusedRoute", text)


def _criteria(match: HTTPMatchRequest) -> bytes:
    return msgspec.json.encode(_nameless(match), order="deterministic")


def _nameless(match: HTTPMatchRequest) -> HTTPMatchRequest:
    return msgspec.structs.replace(match, name="", stat_prefix="")


def _takes_all(match: HTTPMatchRequest) -> bool:
    rest = msgspec.structs.replace(_nameless(match), uri=None, ignore_uri_case=False)
    return match.uri in _EVERY_PATH and rest == HTTPMatchRequest()
