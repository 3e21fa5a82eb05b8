"""RuleSet ↔ nft's words, against the transactions that Istio's own port makes."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings

from pilotfish.capture import (
    CaptureSpec,
    Counters,
    Mode,
    RuleSet,
    diff,
    native_rules,
    parse_nft,
    parse_rule,
    parse_spec,
    render_native_rule,
    render_nft,
    rules,
)
from pilotfish.capture.nft_rule import parse_native_rule
from tests.capture.test_iptables import specs

RULES = [
    ("-i eth1 -j RETURN", "iifname eth1 counter return"),
    ("-o eth+ -j RETURN", 'oifname "eth*" counter return'),
    ("-o vlan -j RETURN", 'oifname "vlan" counter return'),
    ("-p tcp -j ISTIO_INBOUND", "meta l4proto tcp counter jump istio-inbound"),
    ("-s ::6/128 -i lo -p tcp -j RETURN", "iifname lo meta l4proto tcp ip6 saddr ::6/128 counter return"),
    ("! -d 10.0.0.0/8 -j ISTIO_REDIRECT", "ip daddr != 10.0.0.0/8 counter jump istio-redirect"),
    ("-p udp --dport 53 -j REDIRECT --to-ports 15053", "udp dport 53 counter redirect to :15053"),
    (
        "-p tcp -m multiport ! --dports 53,15008 -m owner --uid-owner 7 -j ISTIO_IN_REDIRECT",
        "tcp dport != { 53, 15008 } skuid 7 counter jump istio-in-redirect",
    ),
    ("-m owner ! --gid-owner 1 -m owner ! --gid-owner 2 -j RETURN", "skgid != 1 skgid != 2 counter return"),
    ("-p tcp -m mark ! --mark 1338 -j RETURN", "meta l4proto tcp mark != 1338 counter return"),
    ("-j MARK --set-mark 1337", "counter meta mark set 1337"),
    ("-p tcp -m mark --mark 7 -j CONNMARK --save-mark", "meta l4proto tcp mark 7 counter ct mark set mark"),
    (
        "-p tcp -m connmark --mark 7 -j CONNMARK --restore-mark",
        "meta l4proto tcp ct mark 7 counter meta mark set ct mark",
    ),
    ("-p udp --sport 53 -j CT --zone 1", "udp sport 53 counter ct zone set 1"),
    (
        "-p tcp -m conntrack --ctstate INVALID -j ISTIO_DROP",
        "meta l4proto tcp ct state invalid counter jump istio-drop",
    ),
    (
        "! -d ::1/128 -p tcp -j TPROXY --tproxy-mark 1337/0xffffffff --on-port 15006",
        "meta l4proto tcp ip6 daddr != ::1/128 tproxy ip6 to :15006 meta mark set 1337 counter accept",
    ),
]


@pytest.mark.parametrize(("ours", "native"), RULES)
def test_one_rule_both_ways(ours: str, native: str) -> None:
    rule = parse_rule(ours.split())
    assert render_native_rule(rule) == native
    assert parse_native_rule(native.replace("{ 53, 15008 }", "{ 53 , 15008 }").split()) == rule


@pytest.mark.parametrize(
    ("listed", "ours"),
    [
        (
            'oifname "lo" meta skuid != 1337 counter packets 1 bytes 60 return',
            "-o lo -m owner ! --uid-owner 1337 -j RETURN",
        ),
        (
            "meta l4proto 6 meta mark 0x00000539 ct mark set meta mark",
            "-p tcp -m mark --mark 1337 -j CONNMARK --save-mark",
        ),
        (
            "ct state established,related goto istio-divert",
            "-m conntrack --ctstate RELATED,ESTABLISHED -g ISTIO_DIVERT",
        ),
        (
            "meta l4proto tcp tproxy ip to :15006 meta mark set 0x00000539 counter packets 0 bytes 0 accept",
            "-p tcp -j TPROXY --on-port 15006 --tproxy-mark 1337/0xffffffff",
        ),
    ],
)
def test_what_the_kernel_lists(listed: str, ours: str) -> None:
    read = parse_native_rule(listed.split())
    assert str(read) == str(parse_rule(ours.split()))
    assert read.counters == (
        Counters(1, 60) if "packets 1" in listed else Counters(0, 0) if "packets" in listed else None
    )


@pytest.mark.parametrize(
    "words",
    [
        "ip ttl 7 counter packets 3 bytes 180 accept",
        "tcp dport vmap { 80 : accept, 81 : drop }",
        "counter accept return",
        "meta l4proto != tcp drop",
        "tcp dport 80 udp dport 81 drop",
        "ip saddr { 10.0.0.1, 10.0.0.2 } drop",
        "ct zone 7",
        "jump",
    ],
)
def test_what_is_not_understood_is_kept_whole(words: str) -> None:
    rule = parse_native_rule(words.split())
    assert rule.target == "nft"
    assert rule.matches[0].options[0].value == words.replace("counter packets 3 bytes 180", "counter")
    with pytest.raises(ValueError, match="was not made here"):
        render_native_rule(rule)


@settings(max_examples=40)
@given(specs)
def test_what_is_rendered_reads_back(spec: CaptureSpec) -> None:
    ruleset = native_rules(spec)
    assert parse_nft(render_nft(ruleset, ["nat", "raw"])) == ruleset


@settings(max_examples=40)
@given(specs)
def test_one_family_is_what_iptables_has(spec: CaptureSpec) -> None:
    """But for DROP's protocol and the order of rules that all return, marked in `mangle`."""
    native, ours = native_rules(spec, (4,)), rules(spec, 4)
    different = [] if not spec.drop_invalid else ["changed: mangle/PREROUTING"]
    assert [str(one).rpartition("/")[0] for one in diff(ours, native)] == different


def test_both_families_share_what_has_no_address() -> None:
    chain = native_rules(CaptureSpec(enable_ipv6=True)).table("nat").chain("ISTIO_OUTPUT")
    assert [str(rule) for rule in chain.rules[:2]] == ["-s 127.0.0.6/32 -o lo -j RETURN", "-s ::6/128 -o lo -j RETURN"]
    assert sum(str(rule) == "-m owner --uid-owner 1337 -j RETURN" for rule in chain.rules) == 1


def test_removing_everything() -> None:
    assert render_nft(RuleSet(), ["raw", "nat"]) == (
        "add table inet istio-proxy-nat\ndelete table inet istio-proxy-nat\n"
        "add table inet istio-proxy-raw\ndelete table inet istio-proxy-raw\n"
    )


def test_a_listing_with_others_tables() -> None:
    listing = """\
table ip filter {
	set blocked {
		type ipv4_addr
		elements = { 10.0.0.1, 10.0.0.2 }
	}
	chain input {
		type filter hook input priority filter; policy drop;
		ip saddr @blocked drop comment "a } b"
	}
}
table inet istio-proxy-nat {
	set foreign { type ipv4_addr; }
	chain output {
		type nat hook output priority -100; policy accept;
		counter packets 2 bytes 120 jump istio-output
	}
	chain istio-output {
	}
	chain theirs {
		type nat hook output priority -90; policy accept;
		accept
	}
}
"""
    (table,) = parse_nft(listing).tables
    assert [(chain.name, chain.policy, len(chain.rules)) for chain in table.chains] == [
        ("ISTIO_OUTPUT", "", 0),
        ("OUTPUT", "ACCEPT", 1),
        ("theirs", "type nat hook output priority -90 accept", 1),
    ]
    assert table.chain("OUTPUT").rules[0].counters == Counters(2, 120)


def test_what_is_no_nft() -> None:
    with pytest.raises(ValueError, match="begins neither"):
        parse_nft("*nat\nCOMMIT\n")


def test_conformance_nft(conformance: Path) -> None:
    folder = conformance / "capture"
    cases = yaml.safe_load((folder / "cases.yaml").read_text())
    for case in cases:
        spec, problems = parse_spec(case["config"])
        assert spec is not None, (case["name"], problems)
        expected = parse_nft((folder / "expected-nft" / case["expect_nft"]).read_text())
        assert [str(one) for one in diff(expected, native_rules(spec), whole=True)] == [], case["name"]
        assert native_rules(spec) == expected, case["name"]
    assert len(cases) == 28


def test_tproxy_without_inbound_ports_only_marks() -> None:
    table = native_rules(CaptureSpec(mode=Mode.TPROXY)).table("mangle")
    assert not table.has("ISTIO_TPROXY")
    assert len(table.chain("ISTIO_INBOUND").rules) == 3
