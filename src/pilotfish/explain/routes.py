"""Which virtual host and which of its routes take a request.

Source: Envoy 1.40, VirtualHost.domains and RouteMatch in api-v3/config/route/v3/route_components.proto
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl

import re2
from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from pilotfish.explain.call import HttpRequest


class Verdict(Enum):
    YES = True
    NO = False
    UNKNOWN = None


def find_virtual_host(config: RouteConfiguration, request: HttpRequest) -> VirtualHost | None:
    """An exact domain, else the longest suffix, else the longest prefix, else `*`; case does not count."""
    host = request.host.lower()
    if config.ignore_port_in_host_matching:
        host = _without_port(host)
    domains = {domain.lower(): found for found in config.virtual_hosts for domain in found.domains}
    if host in domains:
        return domains[host]
    suffixes = [d for d in domains if d.startswith("*") and d != "*" and len(d) <= len(host) and host.endswith(d[1:])]
    prefixes = [d for d in domains if d.endswith("*") and d != "*" and len(d) <= len(host) and host.startswith(d[:-1])]
    best = max(suffixes, key=len, default="") or max(prefixes, key=len, default="") or "*"
    return domains.get(best)


def find_route(host: VirtualHost, request: HttpRequest) -> Route | Verdict:
    """The first that matches. NO where none does; UNKNOWN where one that comes first can't be decided."""
    if host.HasField("matcher"):
        return Verdict.UNKNOWN
    for route in host.routes:
        verdict = match_route(route.match, request)
        if verdict is Verdict.YES:
            return route
        if verdict is Verdict.UNKNOWN:
            return verdict
    return Verdict.NO


def match_route(match: Any, request: HttpRequest) -> Verdict:
    """All of a match must hold; what is certainly not there decides, whatever else is unknown."""
    verdicts = tuple(_verdicts(match, request))
    if Verdict.NO in verdicts:
        return Verdict.NO
    return Verdict.UNKNOWN if Verdict.UNKNOWN in verdicts else Verdict.YES


def _verdicts(match: Any, request: HttpRequest) -> Iterator[Verdict]:
    path, _, query = request.path.partition("?")
    yield _match_path(match, path)
    headers = {
        **request.headers,
        ":method": request.method,
        ":authority": request.host,
        ":path": request.path,
    }
    for header in match.headers:
        yield _invert(_match_header(header, headers.get(header.name.lower())), header.invert_match)
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    for parameter in match.query_parameters:
        yield _match_parameter(parameter, parameters.get(parameter.name))
    if match.HasField("grpc"):
        yield _verdict(request.headers.get("content-type", "").startswith("application/grpc"))
    depends = ("runtime_fraction", "tls_context")
    if match.dynamic_metadata or match.filter_state or any(map(match.HasField, depends)):
        yield Verdict.UNKNOWN


def _match_path(match: Any, path: str) -> Verdict:
    fold = match.HasField("case_sensitive") and not match.case_sensitive.value
    kind = match.WhichOneof("path_specifier")
    wanted = getattr(match, kind) if kind in ("prefix", "path", "path_separated_prefix") else ""
    if fold:
        path, wanted = path.lower(), wanted.lower()
    match kind:
        case "prefix":
            return _verdict(path.startswith(wanted))
        case "path":
            return _verdict(path == wanted)
        case "path_separated_prefix":
            return _verdict(path == wanted or path.startswith(f"{wanted}/"))
        case "safe_regex":
            return _match_regex(match.safe_regex.regex, path)
        case _:
            return Verdict.UNKNOWN


def _match_header(header: Any, value: str | None) -> Verdict:
    kind = header.WhichOneof("header_match_specifier")
    if value is None and header.treat_missing_header_as_empty:
        value = ""
    if kind == "present_match":
        return _verdict((value is not None) is header.present_match)
    if kind is None:
        return _verdict(value is not None)
    if value is None:
        return Verdict.NO
    if kind == "string_match":
        return _match_string(header.string_match, value)
    if kind == "range_match":
        number = int(value) if re.fullmatch(r"-?\d{1,18}", value) else None
        return _verdict(number is not None and header.range_match.start <= number < header.range_match.end)
    return Verdict.UNKNOWN


def _match_parameter(parameter: Any, value: str | None) -> Verdict:
    if parameter.WhichOneof("query_parameter_match_specifier") != "string_match":
        return _verdict((value is not None) is (parameter.present_match or not parameter.HasField("present_match")))
    return Verdict.NO if value is None else _match_string(parameter.string_match, value)


def _match_string(match: Any, value: str) -> Verdict:
    kind = match.WhichOneof("match_pattern")
    if kind == "safe_regex":
        return _match_regex(match.safe_regex.regex, value)
    if kind not in ("exact", "prefix", "suffix", "contains"):
        return Verdict.UNKNOWN
    wanted = getattr(match, kind)
    if match.ignore_case:
        wanted, value = wanted.lower(), value.lower()
    match kind:
        case "exact":
            return _verdict(value == wanted)
        case "prefix":
            return _verdict(value.startswith(wanted))
        case "suffix":
            return _verdict(value.endswith(wanted))
        case _:
            return _verdict(wanted in value)


def _match_regex(pattern: str, value: str) -> Verdict:
    """By Envoy's own engine, RE2. Envoy would have refused what that can't read."""
    options = re2.Options()
    options.log_errors = False
    try:
        return _verdict(re2.compile(pattern, options).fullmatch(value) is not None)
    except re2.error:
        return Verdict.UNKNOWN


def _invert(verdict: Verdict, inverted: bool) -> Verdict:
    return verdict if verdict is Verdict.UNKNOWN or not inverted else Verdict(not verdict.value)


def _verdict(holds: bool) -> Verdict:
    return Verdict.YES if holds else Verdict.NO


def _without_port(host: str) -> str:
    return re.sub(r":\d*$", "", host)
