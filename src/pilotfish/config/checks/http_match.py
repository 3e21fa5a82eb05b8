"""Which requests a route takes.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPMatchRequest
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pilotfish.config.checks.exactly_one import check_exactly_one
from pilotfish.config.checks.names import check_labels, check_port
from pilotfish.config.checks.regex import find_fault
from pilotfish.config.headers import claim_of, is_claim
from pilotfish.config.istio.common import StringMatch
from pilotfish.config.istio.virtual_service import HTTPMatchRequest
from pilotfish.config.report import Report

_HEADER_NAME = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_NO_HEADERS = ("uri", "scheme", "method", "authority")
"""Istio's reference warns of them."""
_REMEDY = "use letters, digits and dashes"


def check_header_name(name: str, field: str, report: Report) -> None:
    if not _HEADER_NAME.fullmatch(name):
        report.invalid(field, f"{name!r} is no name of a header", _REMEDY)


def check_match(match: HTTPMatchRequest, field: str, report: Report) -> None:
    for name, string in (("scheme", match.scheme), ("method", match.method), ("authority", match.authority)):
        check_string(string, f"{field}.{name}", report)
    check_string(match.uri, f"{field}.uri", report, empty_prefix=True)
    _check_headers(match.headers, f"{field}.headers", report)
    _check_headers(match.without_headers, f"{field}.withoutHeaders", report, any_value=True)
    for name, string in match.query_params.items():
        check_string(string, f"{field}.queryParams[{name}]", report)
    check_labels(match.source_labels, f"{field}.sourceLabels", report)
    if match.port:
        check_port(match.port, f"{field}.port", report)


def _check_headers(headers: Mapping[str, StringMatch], field: str, report: Report, *, any_value: bool = False) -> None:
    """`{}` matches a header that is there. `any_value`: so does the regex `*`, by a rule of its own of Istio's."""
    for name, string in headers.items():
        if not is_claim(name):
            check_header_name(name.removeprefix(":"), f"{field}[{name}]", report)
        elif claim_of(name) is None:
            report.invalid(f"{field}[{name}]", "it names no claim", "write @request.auth.claims.NAME")
        if name in _NO_HEADERS:
            text = f"a header of the name {name!r} is looked at, which no client sends; write it as match.{name}"
            report.warning(f"{field}[{name}]", "InvalidHeaderName", text)
        if string != StringMatch() and not (any_value and string.regex == "*"):
            check_string(string, f"{field}[{name}]", report)


def check_string(string: StringMatch | None, field: str, report: Report, *, empty_prefix: bool = False) -> None:
    if string is None:
        return
    check_exactly_one({"exact": string.exact, "prefix": string.prefix, "regex": string.regex}, field, report)
    if string.prefix == "" and not empty_prefix:
        report.invalid(f"{field}.prefix", "an empty prefix matches everything", "write one, or remove the match")
    if string.regex is not None:
        fault = find_fault(string.regex) if string.regex else "it is empty"
        if fault:
            report.invalid(f"{field}.regex", f"{fault}: {string.regex[:80]!r} is no RE2 expression", "correct it")
