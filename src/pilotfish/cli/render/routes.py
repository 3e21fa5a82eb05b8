"""Routes as `istioctl proxy-config routes` shows them: a line for each route of each virtual host."""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.cli.render.dump import Json, at, describe_owner, items, strings, text
from pilotfish.cli.render.table import Table, table
from pilotfish.envoy.naming import usual_name

_SHOWN_DOMAINS = 2


def select_routes(routes: Iterable[Json], name: str = "") -> list[Json]:
    """Numbered ones in order of their ports, then the others. `name`: also as a proxy of a pod's own calls it."""
    chosen = [route for route in routes if name in ("", text(route, "name"), usual_name(text(route, "name")))]
    return sorted(chosen, key=lambda route: _order(text(route, "name")))


def render_routes(routes: Iterable[Json]) -> Table:
    rows = []
    for route in routes:
        for host in items(route, "virtual_hosts"):
            start = (text(route, "name"), text(host, "name"), describe_domains(strings(host, "domains")))
            entries = items(host, "routes")
            rows += [
                (*start, describe_match(each.get("match")), describe_owner(each) or _refusal(each)) for each in entries
            ]
            if not entries:
                rows.append((*start, "/*", "404"))
    return table(("NAME", "VHOST NAME", "DOMAINS", "MATCH", "VIRTUAL SERVICE"), rows)


def describe_domains(domains: tuple[str, ...]) -> str:
    """`calculator, calculator.vm + 1 more...`: without the forms that only add `.svc` or the cluster's domain to one
    that is shown, and without those with a port."""
    if len(domains) < 2:
        return "".join(domains)
    plain = [domain for domain in domains if not _has_port(domain)]
    short = [domain for domain in plain if not _expands(domain, plain)] or list(domains)
    more = len(short) - _SHOWN_DOMAINS
    return ", ".join(short[:_SHOWN_DOMAINS]) + (f" + {more} more..." if more > 0 else "")


def describe_match(match: object, headers: bool = True) -> str:
    """`/add*`, `/exact`, `regex /v[0-9]+`, and the headers that must match."""
    words = []
    if prefix := text(match, "prefix") or text(match, "path_separated_prefix"):
        words.append(f"{prefix}*")
    if path := text(match, "path"):
        words.append(path)
    if regex := text(match, "safe_regex", "regex"):
        words.append(f"regex {regex}")
    if headers:
        words += [_describe_header(header) for header in items(match, "headers")]
        words += [f"?{text(each, 'name')}" for each in items(match, "query_parameters")]
    return " ".join(words)


def _describe_header(header: Json) -> str:
    matcher = at(header, "string_match")
    value = ""
    if isinstance(matcher, dict):
        value = next(
            (f"={each}" for key, each in matcher.items() if key != "ignore_case" and isinstance(each, str)), ""
        )
        value = value or (f"~{regex}" if (regex := text(matcher, "safe_regex", "regex")) else "")
    return f"{'!' if at(header, 'invert_match') else ''}{text(header, 'name')}{value}"


def _refusal(route: Json) -> str:
    """The status of a route that answers by itself, such as block_all's 502."""
    return text(route, "direct_response", "status")


def _expands(domain: str, domains: list[str]) -> bool:
    stem = domain.removesuffix(".")
    if stem != domain and stem in domains:
        return True
    head, dot, _ = stem.partition(".svc")
    return bool(dot) and head in domains and head != domain


def _has_port(domain: str) -> bool:
    head, colon, port = domain.rpartition(":")
    return bool(colon) and port.isdecimal() and (":" not in head or head.endswith("]"))


def _order(name: str) -> tuple[int, int, str]:
    port = usual_name(name)
    return (0, int(port), name) if port.isdecimal() else (1, 0, name)
