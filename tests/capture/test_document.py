"""A configuration's mistakes are all named, and none is skipped."""

from ipaddress import ip_network

import pytest

from pilotfish.capture import ALL, CaptureSpec, parse_spec

BAD = (
    ("proxy_port", 0, "a port is a number from 1 to 65535"),
    ("proxy_port", True, "a port is a number"),
    ("inbound_ports_include", [80, "x"], "a port is a number"),
    ("inbound_ports_include", ["*", 80], "stands alone"),
    ("inbound_ports_exclude", "*", "a port is a number"),
    ("outbound_ip_ranges_include", ["10.0.0.0/33"], "no address range"),
    ("outbound_ip_ranges_exclude", ["10.0.0"], "no address range"),
    ("dns_servers_v4", ["::1"], "not an IPv4 address"),
    ("dns_servers_v6", ["127.0.0.1"], "not an IPv6 address"),
    ("host_ipv4_loopback_cidr", "::1/128", "not an IPv4 range"),
    ("exclude_interfaces", ["a-name-that-is-too-long"], "at most 15 characters"),
    ("owner_groups_include", ["no good"], "no group's name"),
    ("mode", "NONE", "neither REDIRECT nor TPROXY"),
    ("redirect_dns", "yes", "neither true nor false"),
    ("proxy_uids", [-1], "from 0 to"),
    ("tproxy_mark", 0, "a mark is a number"),
    ("inbound_ports_include", 80, "no list"),
)


@pytest.mark.parametrize(("field", "value", "message"), BAD)
def test_a_bad_value_is_named(field: str, value: object, message: str) -> None:
    spec, problems = parse_spec({field: value})
    assert spec is None
    assert [(problem.field, problem.reason) for problem in problems] == [(field, "InvalidValue")]
    assert message in problems[0].message


def test_all_problems_are_shown_at_once() -> None:
    _, problems = parse_spec({"proxy_port": 0, "inbound_port_include": "*", "redirect_dns": 1})
    assert [problem.field for problem in problems] == ["proxy_port", "inbound_port_include", "redirect_dns"]
    assert "did you mean inbound_ports_include?" in problems[1].message


@pytest.mark.parametrize("document", [[], "text", 1])
def test_what_is_no_mapping(document: object) -> None:
    spec, problems = parse_spec(document)
    assert spec is None
    assert problems[0].reason == "InvalidDocument"


def test_an_empty_document_is_the_default() -> None:
    assert parse_spec(None) == parse_spec({}) == (CaptureSpec(), ())


def test_text_with_commas_is_a_list() -> None:
    spec, _ = parse_spec({"inbound_ports_include": "6000, 7000,,6000,", "outbound_ip_ranges_include": "*"})
    assert spec == CaptureSpec(inbound_ports_include=(6000, 7000), outbound_ip_ranges_include=ALL)


def test_host_bits_do_not_matter() -> None:
    spec, _ = parse_spec({"outbound_ip_ranges_include": ["10.1.2.3/8"]})
    assert spec is not None
    assert spec.outbound_ip_ranges_include == (ip_network("10.0.0.0/8"),)


@pytest.mark.parametrize(
    "document",
    [
        {"redirect_dns": True},
        {"inbound_ports_exclude": [80]},
        {"owner_groups_include": ["1"], "owner_groups_exclude": ["2"]},
    ],
)
def test_what_does_nothing_is_a_warning(document: dict[str, object]) -> None:
    spec, problems = parse_spec(document)
    assert spec is not None
    assert [(problem.reason, str(problem.severity)) for problem in problems] == [("NoEffect", "warning")]


@pytest.mark.parametrize("name", ["-eth0", 'a"b', "a'b", "a\\b", "a;b", "sixteencharacters", "a b", ""])
def test_what_is_no_interfaces_name(name: str) -> None:
    spec, (problem,) = parse_spec({"exclude_interfaces": [name]})
    assert spec is None
    assert problem.field == "exclude_interfaces"
