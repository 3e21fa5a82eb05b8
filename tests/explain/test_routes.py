"""Which virtual host and route take a request, by Envoy's rules."""

from __future__ import annotations

import pytest
from envoy.config.route.v3.route_components_pb2 import Route, RouteMatch, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.json_format import ParseDict

from pilotfish.explain.call import Failure, HttpRequest
from pilotfish.explain.choice import Choice
from pilotfish.explain.matchers import Holds
from pilotfish.explain.routes import choose_route, choose_virtual_host, find_route_to, match_route

DOMAINS = ("shop.example.com", "*.example.com", "*.eu.example.com", "shop.*", "[fd00::1]", "*")


@pytest.mark.parametrize(
    ("host", "domain"),
    [
        ("shop.example.com", "shop.example.com"),
        ("SHOP.Example.COM:8080", "shop.example.com"),
        ("a.example.com", "*.example.com"),
        ("a.eu.example.com", "*.eu.example.com"),
        ("shop.example.org", "shop.*"),
        ("[fd00::1]:80", "[fd00::1]"),
        ("example.com", "*"),
        ("", "*"),
    ],
)
def test_the_most_specific_domain_has_the_request(host: str, domain: str) -> None:
    hosts = [VirtualHost(name=domain, domains=[domain]) for domain in DOMAINS]
    found = choose_virtual_host(
        RouteConfiguration(virtual_hosts=hosts, ignore_port_in_host_matching=True), HttpRequest(host)
    )
    assert found.taken is not None
    assert found.taken.name == domain


def test_a_port_counts_where_it_is_not_ignored() -> None:
    config = RouteConfiguration(virtual_hosts=[VirtualHost(name="a", domains=["a"])])
    assert choose_virtual_host(config, HttpRequest("a:80")).taken is None


YES, NO, UNKNOWN = Holds.YES, Holds.NO, Holds.UNKNOWN
REQUEST = HttpRequest("a", "/Add/one?x=1&y=", "POST", {"user": "jason", "age": "30"})


@pytest.mark.parametrize(
    ("match", "verdict"),
    [
        ({"prefix": "/Add"}, YES),
        ({"prefix": "/add"}, NO),
        ({"prefix": "/add", "case_sensitive": False}, YES),
        ({"path": "/Add/one"}, YES),
        ({"path": "/Add/one?x=1&y="}, NO),
        ({"path_separated_prefix": "/Add"}, YES),
        ({"path_separated_prefix": "/Ad"}, NO),
        ({"safe_regex": {"regex": "/Add/.*"}}, YES),
        ({"safe_regex": {"regex": "/Add"}}, NO),
        ({"safe_regex": {"regex": r"/\pL+/.*"}}, YES),
        ({"safe_regex": {"regex": "("}}, UNKNOWN),
        ({"prefix": "/", "headers": [{"name": "User", "string_match": {"exact": "jason"}}]}, YES),
        ({"prefix": "/", "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]}, NO),
        ({"prefix": "/", "headers": [{"name": "none", "string_match": {"prefix": ""}}]}, NO),
        ({"prefix": "/", "headers": [{"name": "none", "present_match": True, "invert_match": True}]}, YES),
        ({"prefix": "/", "headers": [{"name": "age", "range_match": {"start": 18, "end": 30}}]}, NO),
        ({"prefix": "/", "query_parameters": [{"name": "x", "string_match": {"exact": "1"}}]}, YES),
        ({"prefix": "/", "query_parameters": [{"name": "y", "present_match": True}]}, YES),
        ({"prefix": "/", "query_parameters": [{"name": "z", "present_match": True}]}, NO),
        ({"prefix": "/", "grpc": {}}, NO),
        ({"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 50}}}, UNKNOWN),
        ({"prefix": "/no", "runtime_fraction": {"default_value": {"numerator": 50}}}, NO),
    ],
)
def test_matchers(match: dict[str, object], verdict: Holds) -> None:
    assert match_route(ParseDict(match, RouteMatch()), REQUEST)[0] is verdict


def test_the_first_route_wins_unless_one_before_it_is_not_understood() -> None:
    routes = [Route(name=name, match=RouteMatch(prefix=prefix)) for name, prefix in (("a", "/b"), ("b", "/Add"))]
    found = choose_route(VirtualHost(routes=[*routes, Route(name="c", match=RouteMatch(prefix="/"))]), REQUEST)
    assert found.taken is not None
    assert found.taken.name == "b"
    assert [each.name for each in found.rejected] == ["a"]
    unclear = ParseDict({"match": {"prefix": "/", "runtime_fraction": {"default_value": {"numerator": 1}}}}, Route())
    assert choose_route(VirtualHost(routes=[unclear, *routes]), REQUEST).failure is Failure.UNKNOWN
    assert choose_route(VirtualHost(routes=routes[:1]), REQUEST) == Choice(rejected=found.rejected)


def test_of_a_logged_request_the_route_that_leads_where_it_went_is_found() -> None:
    """Whatever headers it asks for: the log has none."""
    tester = {"name": "tester", "string_match": {"exact": "yes"}}
    matches = ({"prefix": "/b", "headers": [tester]}, {"prefix": "/Add", "headers": [tester]}, {"prefix": "/"})
    routes = [
        ParseDict({"name": str(number), "match": match, "route": {"cluster": "v2" if number < 2 else "v1"}}, Route())
        for number, match in enumerate(matches)
    ]
    host = VirtualHost(routes=routes)
    found = find_route_to(host, REQUEST, "v2")
    assert found.taken is not None
    assert found.taken.name == "1"
    assert found.why.endswith("the log says that it went to v2; header tester is 'yes'")
    assert find_route_to(host, REQUEST, "v3").taken is None
