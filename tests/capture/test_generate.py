"""CaptureSpec → RuleSet, against the rules that Istio writes."""

from collections.abc import Iterator
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any

import yaml

from pilotfish.capture import (
    ALL,
    CaptureSpec,
    RuleSet,
    diff,
    parse_iptables,
    parse_spec,
    render_iptables,
    rules,
)
from pilotfish.capture.spec import Family

POD = CaptureSpec(
    inbound_ports_include=ALL,
    inbound_ports_exclude=(15020, 15021, 15090),
    outbound_ip_ranges_include=ALL,
    outbound_ports_exclude=(15020,),
)

POD_NAT = """\
*nat
-N ISTIO_INBOUND
-N ISTIO_IN_REDIRECT
-N ISTIO_OUTPUT
-N ISTIO_REDIRECT
-A PREROUTING -p tcp -j ISTIO_INBOUND
-A OUTPUT -j ISTIO_OUTPUT
-A ISTIO_INBOUND -p tcp --dport 15008 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15020 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15021 -j RETURN
-A ISTIO_INBOUND -p tcp --dport 15090 -j RETURN
-A ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
-A ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
-A ISTIO_OUTPUT -p tcp --dport 15020 -j RETURN
-A ISTIO_OUTPUT -p udp --dport 15020 -j RETURN
-A ISTIO_OUTPUT -s {passthrough} -o lo -j RETURN
-A ISTIO_OUTPUT ! -d {loopback} -o lo -p tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
-A ISTIO_OUTPUT ! -d {loopback} -o lo -p tcp ! --dport 15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT
-A ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN
-A ISTIO_OUTPUT -d {loopback} -j RETURN
-A ISTIO_OUTPUT -j ISTIO_REDIRECT
-A ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001
COMMIT
"""


def _says_the_same(ruleset: RuleSet, text: str) -> None:
    expected = parse_iptables(text)
    assert diff(expected, ruleset) == ()
    assert ruleset == expected


def test_a_pod_of_ipv4() -> None:
    _says_the_same(rules(POD, 4), POD_NAT.format(passthrough="127.0.0.6/32", loopback="127.0.0.1/32"))


def test_a_pod_without_ipv6_has_no_rules_for_it() -> None:
    assert rules(POD, 6) == RuleSet()


def test_the_same_pod_in_ipv6() -> None:
    spec = CaptureSpec(
        inbound_ports_include=ALL,
        inbound_ports_exclude=(15020, 15021, 15090),
        outbound_ip_ranges_include=ALL,
        outbound_ports_exclude=(15020,),
        enable_ipv6=True,
    )
    _says_the_same(rules(spec, 6), POD_NAT.format(passthrough="::6/128", loopback="::1/128"))


def test_each_family_has_its_own_ranges() -> None:
    ranges = (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))
    spec = CaptureSpec(outbound_ip_ranges_include=ranges, enable_ipv6=True)
    last = {family: str(rules(spec, family).table("nat").chain("ISTIO_OUTPUT").rules[-1]) for family in _FAMILIES}
    assert last == {4: "-d 10.0.0.0/8 -j ISTIO_REDIRECT", 6: "-d 2001:db8::/32 -j ISTIO_REDIRECT"}


_FAMILIES: tuple[Family, ...] = (4, 6)


def test_dns_servers_of_one_family_sort_zones_in_both() -> None:
    spec = CaptureSpec(redirect_dns=True, dns_servers_v4=(IPv4Address("10.0.0.53"),), enable_ipv6=True)
    assert rules(spec, 4).table("nat").has("ISTIO_OUTPUT_DNS")
    assert not rules(spec, 6).table("nat").has("ISTIO_OUTPUT_DNS")
    assert rules(spec, 6).table("raw").has("ISTIO_OUTPUT_DNS")


def test_every_rule_says_what_it_is_for() -> None:
    assert all(rule.why for _, rule in rules(POD, 4).numbered())


def test_ids_tell_table_chain_and_place() -> None:
    assert dict(rules(POD, 4).numbered())["nat/ISTIO_OUTPUT/11"].target == "ISTIO_REDIRECT"


def _cases(folder: Path) -> Iterator[tuple[str, dict[str, Any], Family, str]]:
    """Name, configuration, family, expected file."""
    for case in yaml.safe_load((folder / "cases.yaml").read_text()):
        for family, key in ((4, "expect_v4"), (6, "expect_v6")):
            if case[key]:
                yield case["name"], case["config"], family, case[key]  # type: ignore[misc]
    for case in yaml.safe_load((folder / "pod-cases.yaml").read_text())["cases"]:
        yield f"pod {case['name']}", case["derived_config"], 4, case["expect_v4"]


def test_conformance_rules(conformance: Path) -> None:
    folder = conformance / "capture"
    count = 0
    for name, config, family, expected in _cases(folder):
        spec, problems = parse_spec(config)
        assert spec is not None, (name, problems)
        text = (folder / "expected" / expected).read_text()
        assert [str(d) for d in diff(parse_iptables(text), rules(spec, family))] == [], (name, family)
        assert rules(spec, family) == parse_iptables(text), (name, family)
        assert parse_iptables(render_iptables(rules(spec, family))) == rules(spec, family), (name, family)
        count += 1
    assert count == 47


def test_conformance_defaults(conformance: Path) -> None:
    defaults = yaml.safe_load((conformance / "capture" / "defaults.yaml").read_text())["config"]
    assert parse_spec(defaults) == (CaptureSpec(), ())


def test_a_real_pod_of_istio(conformance: Path) -> None:
    """Istio's own init container orders the sidecar's ports otherwise, and excludes no outbound port."""
    text = (conformance / "istio" / "allow-any" / "webapp-0.iptables-save").read_text()
    spec = CaptureSpec(
        inbound_ports_include=ALL, inbound_ports_exclude=(15090, 15021, 15020), outbound_ip_ranges_include=ALL
    )
    assert diff(rules(spec, 4), parse_iptables(text)) == ()
