"""Which virtual host and which of its routes take a request, and why those before it do not.

Source: Envoy 1.40, VirtualHost.domains and RouteMatch in api-v3/config/route/v3/route_components.proto
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, Final
from urllib.parse import parse_qsl

from envoy.config.route.v3.route_components_pb2 import Route, RouteMatch, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from pilotfish.explain.call import Failure, HttpRequest
from pilotfish.explain.choice import Choice
from pilotfish.explain.matchers import Holds, holds, invert, match_header, match_metadata, match_regex, match_string
from pilotfish.explain.trace import Rejected

_PARAMETER: Final = "query_parameter_match_specifier"


def choose_virtual_host(config: RouteConfiguration, request: HttpRequest) -> Choice[VirtualHost]:
    """An exact domain, else the longest suffix, else the longest prefix, else `*`; case does not count."""
    host = request.host.lower()
    if config.ignore_port_in_host_matching:
        host = _without_port(host)
    domains = {domain.lower(): found for found in config.virtual_hosts for domain in found.domains}
    if host in domains:
        return Choice(domains[host], f"its domain {host} is the request's host")
    suffixes = [d for d in domains if d.startswith("*") and d != "*" and len(d) <= len(host) and host.endswith(d[1:])]
    prefixes = [d for d in domains if d.endswith("*") and d != "*" and len(d) <= len(host) and host.startswith(d[:-1])]
    fitting = [*sorted(suffixes, key=len, reverse=True), *sorted(prefixes, key=len, reverse=True)]
    fitting += ["*"] if "*" in domains else []
    close = get_close_matches(host, domains, n=3, cutoff=0.6)
    lost = [Rejected(domains[d].name, f"its domain {d} is not {host}") for d in close if d not in fitting]
    if not fitting:
        return Choice(rejected=tuple(lost))
    less = [Rejected(domains[d].name, f"its domain {d} matches too, and says less") for d in fitting[1:]]
    return Choice(domains[fitting[0]], f"its domain {fitting[0]} matches {host}", (*lost, *less))


def choose_route(host: VirtualHost, request: HttpRequest) -> Choice[Route]:
    """The first that matches. Unknown where one that comes first can't be decided."""
    if host.HasField("matcher"):
        return Choice(why="the route is chosen by a matcher, which is not read here", failure=Failure.UNKNOWN)
    rejected: list[Rejected] = []
    for number, route in enumerate(host.routes, 1):
        holds, why = match_route(route.match, request)
        if holds is Holds.YES:
            return Choice(route, why, tuple(rejected))
        if holds is Holds.UNKNOWN:
            return Choice(None, f"{route_name(route, number)}: {why}", tuple(rejected), Failure.UNKNOWN)
        rejected.append(Rejected(route_name(route, number), why))
    return Choice(rejected=tuple(rejected))


def find_route_to(host: VirtualHost, request: HttpRequest, cluster: str) -> Choice[Route]:
    """The first that sends to a cluster what is known of a request to have gone there, whatever its headers were."""
    for route in filter(lambda each: leads(each, cluster), host.routes):
        bare = RouteMatch()
        bare.CopyFrom(route.match)
        del bare.headers[:]
        bare.headers.extend(each for each in route.match.headers if each.name.startswith(":"))
        holds, why = match_route(bare, request)
        if holds is Holds.YES:
            unknown = (each for each in route.match.headers if not each.name.startswith(":"))
            asked = (f"header {each.name} {_asked(each)}" for each in unknown)
            return Choice(route, "; ".join((why, f"the log says that it went to {cluster}", *asked)))
    return Choice()


def leads(route: Route, cluster: str) -> bool:
    action = route.route
    return cluster in (action.cluster, *(each.name for each in action.weighted_clusters.clusters))


def match_route(match: Any, request: HttpRequest) -> tuple[Holds, str]:
    """All of a match must hold; what is certainly not there decides, whatever else is unknown. And what decided."""
    criteria = tuple(_criteria(match, request))
    for decisive in (Holds.NO, Holds.UNKNOWN):
        for what, verdict in criteria:
            if verdict is decisive:
                return decisive, what
    return Holds.YES, "; ".join(what for what, _ in criteria)


def route_name(route: Route, number: int) -> str:
    return route.name or f"route {number}"


def _criteria(match: Any, request: HttpRequest) -> Iterator[tuple[str, Holds]]:
    """(what is asked and what there is, whether it holds). All must hold."""
    path, _, query = request.path.partition("?")
    yield f"path {_asked_path(match)}; the path is {path}", _match_path(match, path)
    headers = {
        **request.headers,
        ":method": request.method,
        ":authority": request.host,
        ":path": request.path,
        ":scheme": request.scheme,
    }
    for header in match.headers:
        value = headers.get(header.name.lower())
        asked = f"header {header.name} {'not ' if header.invert_match else ''}{_asked(header)}"
        there = f"it is {value!r}" if value is not None else "there is none"
        yield f"{asked}; {there}", invert(match_header(header, value), header.invert_match)
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    for parameter in match.query_parameters:
        value = parameters.get(parameter.name)
        there = f"it is {value!r}" if value is not None else "there is none"
        yield f"query parameter {parameter.name} {_asked(parameter)}; {there}", _match_parameter(parameter, value)
    if match.HasField("grpc"):
        is_grpc = request.headers.get("content-type", "").startswith("application/grpc")
        yield "gRPC alone", holds(is_grpc)
    for name in ("runtime_fraction", "tls_context"):
        if match.HasField(name):
            yield f"it depends on {name}", Holds.UNKNOWN
    for claim in match.dynamic_metadata:
        keys = ".".join(each.key for each in claim.path)
        asked = f"{keys} of {claim.filter} is {'not ' if claim.invert else ''}as asked for"
        yield asked, match_metadata(claim, request.claims)
    if match.filter_state:
        yield "it depends on filter_state", Holds.UNKNOWN


def _asked_path(match: Any) -> str:
    kind = match.WhichOneof("path_specifier") or "nothing"
    words = {"prefix": "begins with", "path": "is", "path_separated_prefix": "is or is below", "safe_regex": "matches"}
    value = match.safe_regex.regex if kind == "safe_regex" else getattr(match, kind, "")
    return f"{words.get(kind, kind)} {value}"


def _asked(asker: Any) -> str:
    """What a header or a parameter must be."""
    kind = asker.WhichOneof("header_match_specifier" if hasattr(asker, "range_match") else _PARAMETER)
    if kind == "string_match":
        match = asker.string_match
        how = match.WhichOneof("match_pattern") or "nothing"
        value = match.safe_regex.regex if how == "safe_regex" else getattr(match, how, "")
        words = {"exact": "is", "prefix": "begins with", "suffix": "ends with", "safe_regex": "matches"}
        return f"{words.get(how, how)} {value!r}"
    if kind == "range_match":
        return f"is from {asker.range_match.start} to {asker.range_match.end - 1}"
    return "is absent" if kind == "present_match" and not asker.present_match else "is there"


def _match_path(match: Any, path: str) -> Holds:
    fold = match.HasField("case_sensitive") and not match.case_sensitive.value
    kind = match.WhichOneof("path_specifier")
    wanted = getattr(match, kind) if kind in ("prefix", "path", "path_separated_prefix") else ""
    if fold:
        path, wanted = path.lower(), wanted.lower()
    match kind:
        case "prefix":
            return holds(path.startswith(wanted))
        case "path":
            return holds(path == wanted)
        case "path_separated_prefix":
            return holds(path == wanted or path.startswith(f"{wanted}/"))
        case "safe_regex":
            return match_regex(match.safe_regex.regex, path)
        case _:
            return Holds.UNKNOWN


def _match_parameter(parameter: Any, value: str | None) -> Holds:
    if parameter.WhichOneof(_PARAMETER) != "string_match":
        return holds((value is not None) is (parameter.present_match or not parameter.HasField("present_match")))
    return Holds.NO if value is None else match_string(parameter.string_match, value)


def _without_port(host: str) -> str:
    return re.sub(r":\d*$", "", host)
