"""A rule is the same however it was written."""

import pytest

from pilotfish.capture import Counters, parse_rule, render_rule
from pilotfish.capture.rule import Option, split_words

SAME = (
    # As written, as iptables-save 1.8.9 writes it.
    ("-o lo -p tcp -j RETURN", "-o lo -p tcp -j RETURN"),
    ("-p tcp -o lo -j RETURN", "-o lo -p tcp -j RETURN"),
    ("-p tcp --dport 53 -j A", "-p tcp -m tcp --dport 53 -j A"),
    ("-p tcp ! --dport 53 -m owner ! --uid-owner 3 -j A", "-p tcp -m owner ! --uid-owner 3 -m tcp ! --dport 53 -j A"),
    ("-p udp --destination-port 53 --jump A", "-p udp -m udp --dport 53 -j A"),
    ("-d 127.0.0.1/8 -j A", "-d 127.0.0.0/8 -j A"),
    ("-d 127.0.0.53 -j A", "-d 127.0.0.53/32 -j A"),
    ("-d ::127.0.0.53/128 -j A", "-d ::7f00:35/128 -j A"),
    ("-p udp -j REDIRECT --to-port 15053", "-p udp -j REDIRECT --to-ports 15053"),
    ("-j MARK --set-mark 1337", "-j MARK --set-xmark 0x539/0xffffffff"),
    ("-m mark ! --mark 1338 -j RETURN", "-m mark ! --mark 0x53a -j RETURN"),
    ("-j CONNMARK --save-mark", "-j CONNMARK --save-mark --nfmask 0xffffffff --ctmask 0xffffffff"),
    (
        "-p tcp -j TPROXY --tproxy-mark 1337/0xffffffff --on-port 15006",
        "-p tcp -j TPROXY --on-port 15006 --on-ip 0.0.0.0 --tproxy-mark 0x539/0xffffffff",
    ),
    ("-m conntrack --ctstate ESTABLISHED,RELATED -j A", "-m conntrack --ctstate RELATED,ESTABLISHED -j A"),
    ("-p tcp -m multiport ! --dports 53,15008 -j A", "-p tcp -m multiport ! --dports 15008,53 -j A"),
    ("-p all -j A", "-j A"),
)

DIFFERENT = (
    ("-o lo -j RETURN", "! -o lo -j RETURN"),
    ("-j A", "-g A"),
    ("-p tcp -j A", "-p udp -j A"),
    ("-m owner ! --gid-owner 1 -m owner ! --gid-owner 2 -j A", "-m owner ! --gid-owner 1 -j A"),
    ("-m mark --mark 1337 -j A", "-m connmark --mark 1337 -j A"),
    ("-m mark --mark 1337/0xff -j A", "-m mark --mark 1337 -j A"),
)


@pytest.mark.parametrize(("written", "saved"), SAME)
def test_the_form_of_a_rule_does_not_matter(written: str, saved: str) -> None:
    assert parse_rule(written.split()) == parse_rule(saved.split())


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_rules_that_match_other_packets_differ(one: str, other: str) -> None:
    assert parse_rule(one.split()) != parse_rule(other.split())


@pytest.mark.parametrize("text", [text for pair in (*SAME, *DIFFERENT) for text in pair])
def test_a_rendered_rule_reads_back(text: str) -> None:
    rule = parse_rule(text.split())
    assert parse_rule(split_words(render_rule(rule))) == rule


def test_others_rules_are_kept_word_for_word() -> None:
    line = '-p tcp -m tcp --tcp-flags FIN,SYN SYN -m comment --comment "say \\"hi\\" to me" -j LOG --log-prefix "a b "'
    rule = parse_rule(split_words(line))
    assert rule.option("--comment") == Option("--comment", ('say "hi" to me',))
    assert rule.option("--tcp-flags") == Option("--tcp-flags", ("FIN,SYN", "SYN"))
    assert parse_rule(split_words(render_rule(rule))) == rule


def test_a_port_needs_a_protocol() -> None:
    with pytest.raises(ValueError, match="--dport belongs to no match"):
        parse_rule(["--dport", "53", "-j", "A"])


def test_counters_belong_to_a_rule() -> None:
    assert parse_rule(["-j", "A"], Counters(1, 60)) != parse_rule(["-j", "A"])
