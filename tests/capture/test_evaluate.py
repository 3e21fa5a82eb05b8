"""What rules do with a connection: one small table for each of the kernel's rules of the game."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.capture import (
    ALL,
    Accepted,
    CaptureSpec,
    Connection,
    Dropped,
    Evaluation,
    Mode,
    Redirected,
    Tproxied,
    Translated,
    Unknown,
    Verdict,
    VisitEvent,
    evaluate,
    native_rules,
    parse_iptables,
    rules,
)
from pilotfish.capture.targets import HARMLESS
from tests.capture.pods import POD

TPROXY = CaptureSpec(mode=Mode.TPROXY, inbound_ports_include=ALL, outbound_ip_ranges_include=ALL, drop_invalid=True)


def judged(text: str, line: str) -> Evaluation:
    return evaluate(parse_iptables(text), Connection.parse(line))


def table(name: str, *rules: str) -> str:
    return "\n".join((f"*{name}", *rules, "COMMIT", ""))


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("10.96.0.7:80", Redirected(15001)),
        ("10.96.0.7:15020", Accepted()),
        ("10.96.0.7:80 uid=1337", Accepted()),
        ("10.96.0.7:80 gid=1337", Accepted()),
        ("127.0.0.1:80", Accepted()),
        ("10.244.0.2:80 local=yes", Accepted()),
        ("10.244.0.2:80 local=yes uid=1337 gid=1337", Redirected(15006)),
        ("10.244.0.2:15008 local=yes uid=1337 gid=1337", Accepted()),
        ("10.244.0.2:80 from 127.0.0.6 local=yes uid=1337 gid=1337", Accepted()),
        ("udp 10.96.0.10:53", Redirected(15053, dns=True)),
        ("tcp 10.96.0.10:53", Redirected(15053, dns=True)),
        ("udp 10.96.0.10:54", Accepted()),
        ("udp 10.96.0.10:53 uid=1337 gid=1337", Accepted()),
        ("udp 127.0.0.53:53", Redirected(15053, dns=True)),
        ("in 10.244.0.2:80 from 10.244.0.9", Redirected(15006)),
        ("in 10.244.0.2:15008 from 10.244.0.9", Accepted()),
        ("in 10.244.0.2:15020", Accepted()),
        ("in udp 10.244.0.2:53", Accepted()),
        ("in 10.244.0.2:80 state=ESTABLISHED", Accepted()),
        ("in 10.244.0.2:80 state=INVALID", Accepted()),
        ("in [2001:db8::2]:80 from 2001:db8::9", Redirected(15006)),
        ("[2001:db8::7]:80", Redirected(15001)),
        ("[::1]:80", Accepted()),
    ],
)
def test_a_pod(line: str, verdict: Verdict) -> None:
    connection = Connection.parse(line)
    assert evaluate(rules(POD, connection.family), connection).verdict == verdict
    assert evaluate(native_rules(POD), connection).verdict == verdict


@pytest.mark.parametrize(
    ("line", "verdict", "mark"),
    [
        ("in 10.244.0.2:80 from 10.244.0.9", Tproxied(15006, 1337), 1337),
        ("in 10.244.0.2:80 from 10.244.0.9 state=ESTABLISHED", Accepted(), 1337),
        ("in 10.244.0.2:80 from 10.244.0.9 state=INVALID", Dropped(), 0),
        ("10.244.0.2:80 local=yes", Accepted(), 0),
        ("10.244.0.2:80 local=yes uid=1337 gid=1337", Redirected(15006), 1338),
        ("10.244.0.2:15008 local=yes uid=1337 gid=1337", Tproxied(15006, 1337), 1337),
        ("10.96.0.7:80", Redirected(15001), 0),
        ("10.244.0.9:41000 from 10.244.0.2:80 connmark=1337 state=ESTABLISHED", Accepted(), 1337),
    ],
)
def test_tproxy(line: str, verdict: Verdict, mark: int) -> None:
    evaluation = evaluate(rules(TPROXY, 4), Connection.parse(line))
    assert (evaluation.verdict, evaluation.mark) == (verdict, mark)


def test_a_mark_stays_with_the_connection() -> None:
    """Of what the proxy sends to its app in a client's name, so that the answer finds back."""
    sent = evaluate(rules(TPROXY, 4), Connection.parse("10.244.0.2:80 from 10.244.0.9 interface=lo mark=1337"))
    assert sent.connection_mark == 1337


@pytest.mark.parametrize(
    ("rule", "line", "verdict"),
    [
        ("-A PREROUTING -p tcp --dport 80:90 -j REDIRECT --to-ports 1", "in 10.0.0.1:85", Redirected(1)),
        ("-A PREROUTING -p tcp --dport 80:90 -j REDIRECT --to-ports 1", "in 10.0.0.1:91", Accepted()),
        ("-A PREROUTING -p tcp --dport :90 -j REDIRECT --to-ports 1", "in 10.0.0.1:1", Redirected(1)),
        ("-A PREROUTING -p 6 -j REDIRECT --to-ports 1", "in 10.0.0.1:1", Redirected(1)),
        ("-A PREROUTING -p tcp -m multiport --ports 7,80 -j REDIRECT --to-ports 1", "in 10.0.0.1:80", Redirected(1)),
        ("-A PREROUTING -i eth+ -j REDIRECT --to-ports 1", "in 10.0.0.1:80 interface=eth7", Redirected(1)),
        ("-A PREROUTING -i eth+ -j REDIRECT --to-ports 1", "in 10.0.0.1:80 interface=tun0", Accepted()),
        ("-A PREROUTING ! -s 10.0.0.0/8 -j REDIRECT --to-ports 1", "in 10.0.0.1:80 from 11.0.0.1", Redirected(1)),
        ("-A PREROUTING -m mark --mark 0x10/0xf0 -j REDIRECT --to-ports 1", "in 10.0.0.1:80", Accepted()),
        ("-A OUTPUT -m mark --mark 0x10/0xf0 -j REDIRECT --to-ports 1", "10.0.0.1:80 mark=0x1f", Redirected(1)),
        ("-A OUTPUT -m owner --uid-owner 5-9 -j REDIRECT --to-ports 1", "10.0.0.1:80 uid=9", Redirected(1)),
        ("-A OUTPUT -m owner --socket-exists -j REDIRECT --to-ports 1", "10.0.0.1:80", Redirected(1)),
        ("-A OUTPUT -p tcp --syn -j REDIRECT --to-ports 1", "10.0.0.1:80", Redirected(1)),
        ("-A OUTPUT -m state --state NEW -j REDIRECT --to-ports 1", "10.0.0.1:80", Redirected(1)),
        ("-A OUTPUT -m conntrack ! --ctstate NEW -j REDIRECT --to-ports 1", "10.0.0.1:80", Accepted()),
        ("-A OUTPUT -m conntrack ! --ctstate NEW -j REDIRECT --to-ports 1", "10.0.0.1:80 state=RELATED", Redirected(1)),
        ("-A PREROUTING -m addrtype --dst-type LOCAL -j REDIRECT --to-ports 1", "in 10.0.0.1:80", Redirected(1)),
        ("-A PREROUTING -m addrtype --dst-type LOCAL -j REDIRECT --to-ports 1", "in 10.0.0.1:80 local=no", Accepted()),
        ('-A OUTPUT -m comment --comment "a b" -j REDIRECT --to-ports 1', "10.0.0.1:80", Redirected(1)),
        ("-A OUTPUT -j REDIRECT", "10.0.0.1:80", Redirected(80)),
        ("-A OUTPUT -j DNAT --to-destination 10.0.0.9:81", "10.0.0.1:80", Translated(ip_address("10.0.0.9"), 81)),
        ("-A OUTPUT -j DNAT --to-destination 127.0.0.11", "10.0.0.1:80", Translated(ip_address("127.0.0.11"), 80)),
        ("-A OUTPUT -j DNAT --to-destination [::1]:81", "[::2]:80", Translated(ip_address("::1"), 81)),
        ("-A OUTPUT -p udp --sport 53 -j REDIRECT --to-ports 1", "udp 10.0.0.1:80", Accepted()),
    ],
)
def test_one_rule_of_nat(rule: str, line: str, verdict: Verdict) -> None:
    assert judged(table("nat", rule), line).verdict == verdict


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("-A OUTPUT -m limit --limit 5/min -j REDIRECT --to-ports 1", "10.0.0.1:80"),
        ("-A OUTPUT -m owner --gid-owner java -j REDIRECT --to-ports 1", "10.0.0.1:80"),
        ("-A OUTPUT -s 10.0.0.5/32 -j REDIRECT --to-ports 1", "10.0.0.1:80"),
        ("-A OUTPUT -p udp --sport 40000 -j REDIRECT --to-ports 1", "udp 10.0.0.1:80"),
        ("-A OUTPUT -m conntrack --ctstate DNAT -j REDIRECT --to-ports 1", "10.0.0.1:80"),
        ("-A OUTPUT -m addrtype --dst-type BROADCAST -j REDIRECT --to-ports 1", "10.0.0.1:80"),
        ("-A OUTPUT -p tcp --tcp-flags ALL SYN -j REDIRECT --to-ports 1", "10.0.0.1:80"),
        ("-A OUTPUT -j REDIRECT --to-ports 1-5", "10.0.0.1:80"),
        ("-A OUTPUT -j DNAT --to-destination 10.0.0.1-10.0.0.9", "10.0.0.1:80"),
        ("-A OUTPUT -j ELSEWHERE", "10.0.0.1:80"),
        ("-A OUTPUT -j NFQUEUE --queue-num 1", "10.0.0.1:80"),
    ],
)
def test_what_is_not_known_is_said_and_never_guessed(rule: str, line: str) -> None:
    verdict = judged(table("nat", rule), line).verdict
    assert isinstance(verdict, Unknown)
    assert verdict.rule == "nat/OUTPUT/1"
    assert verdict.why.startswith("nat/OUTPUT/1: ")


def test_what_is_not_known_does_not_matter_where_another_option_fails() -> None:
    rule = "-A OUTPUT -p udp -m limit --limit 5/min -j REDIRECT --to-ports 1"
    assert judged(table("nat", rule), "tcp 10.0.0.1:80").verdict == Accepted()


@pytest.mark.parametrize("target", sorted(HARMLESS - {""}))
def test_what_is_not_known_does_not_matter_where_nothing_follows(target: str) -> None:
    text = table("nat", f"-A OUTPUT -m limit --limit 5/min -j {target}", "-A OUTPUT -j REDIRECT --to-ports 1")
    assert judged(text, "10.0.0.1:80").verdict == Redirected(1)


def test_return_goto_and_the_end_of_a_chain() -> None:
    text = table(
        "nat",
        *(":OUTPUT ACCEPT", ":A -", ":B -", ":C -"),
        *("-A OUTPUT -j A", "-A OUTPUT -p tcp --dport 83 -j REDIRECT --to-ports 3"),
        *(
            "-A A -p tcp --dport 80 -j RETURN",
            "-A A -p tcp --dport 83 -g B",
            "-A A -j B",
            "-A A -j REDIRECT --to-ports 1",
        ),
        *("-A B -p tcp --dport 81 -j REDIRECT --to-ports 2", "-A B -j C"),
    )
    # 80 returns; 81 is B's; 82 comes back from B to A; 83 goes to B for good, and comes back to OUTPUT.
    found = [judged(text, f"10.0.0.1:{port}").verdict for port in (80, 81, 82, 83)]
    assert found == [Accepted(), Redirected(2), Redirected(1), Redirected(3)]


def test_a_loop_of_chains_ends() -> None:
    text = table("nat", ":A -", "-A OUTPUT -j A", "-A A -j A")
    assert judged(text, "10.0.0.1:80").verdict == Unknown("nat/A leads back to itself")


def test_the_policy_decides_at_the_end() -> None:
    text = table("filter", ":OUTPUT DROP [0:0]", "-A OUTPUT -p tcp --dport 80 -j ACCEPT")
    assert judged(text, "10.0.0.1:80").verdict == Accepted()
    assert judged(text, "10.0.0.1:81").verdict == Dropped()


def test_later_tables_see_what_earlier_ones_changed() -> None:
    text = table("mangle", "-A OUTPUT -j MARK --set-mark 7") + table("nat", "-A OUTPUT -m mark --mark 7 -j REDIRECT")
    text += table("filter", "-A OUTPUT -d 127.0.0.1/32 -j DROP")
    assert judged(text, "10.0.0.1:80").verdict == Dropped()


def test_each_way_passes_its_own_hooks() -> None:
    dropped = {hook: table("filter", f"-A {hook} -j DROP") for hook in ("INPUT", "FORWARD", "OUTPUT")}
    lines = {"in": "in 10.0.0.1:80", "through": "in 10.0.0.1:80 local=no", "out": "10.0.0.1:80", "lo": "127.0.0.1:80"}
    found = {
        way: {hook for hook, text in dropped.items() if judged(text, line).verdict == Dropped()}
        for way, line in lines.items()
    }
    assert found == {"in": {"INPUT"}, "through": {"FORWARD"}, "out": {"OUTPUT"}, "lo": {"OUTPUT", "INPUT"}}


def test_nat_decides_once_about_the_destination() -> None:
    """What is redirected when sent comes in again by lo, and is not redirected a second time."""
    text = table("nat", "-A OUTPUT -j REDIRECT --to-ports 1", "-A PREROUTING -j REDIRECT --to-ports 2")
    evaluation = judged(text, "10.0.0.1:80")
    assert evaluation.verdict == Redirected(1)
    assert [visit.id for visit in evaluation.visited if visit.event is VisitEvent.SKIPPED] == ["nat/PREROUTING"]


def test_untracked_packets_pass_nat_by() -> None:
    text = table("raw", "-A OUTPUT -j CT --notrack") + table("nat", "-A OUTPUT -j REDIRECT --to-ports 1")
    assert judged(text, "10.0.0.1:80").verdict == Accepted()


def test_conntrack_has_not_looked_yet_in_raw() -> None:
    """(xt_conntrack.c, xt_connmark.c): a packet without an entry is INVALID, and has no mark, negated or not."""
    text = table("raw", "-A OUTPUT -m conntrack --ctstate NEW -j DROP", "-A OUTPUT -m connmark ! --mark 5 -j DROP")
    assert judged(text, "10.0.0.1:80").verdict == Accepted()
    assert judged(table("raw", "-A OUTPUT -m conntrack --ctstate INVALID -j DROP"), "10.0.0.1:80").verdict == Dropped()


@pytest.mark.parametrize(
    ("target", "mark", "connection_mark"),
    [
        ("MARK --set-xmark 0xf0/0xff", 0xFF00 | 0xF0, 0x1200),
        ("MARK --set-mark 5", 5, 0x1200),
        ("CONNMARK --save-mark", 0xFF34, 0xFF34),
        ("CONNMARK --save-mark --nfmask 0xff --ctmask 0xff", 0xFF34, 0x1234),
        ("CONNMARK --restore-mark", 0x1200, 0x1200),
        ("CONNMARK --set-xmark 0x1/0xffffffff", 0xFF34, 1),
    ],
)
def test_marks(target: str, mark: int, connection_mark: int) -> None:
    found = judged(table("mangle", f"-A OUTPUT -j {target}"), "10.0.0.1:80 mark=0xff34 connmark=0x1200")
    assert (found.mark, found.connection_mark) == (mark, connection_mark)


def test_translated_to_who_knows_where() -> None:
    """Whether INPUT or FORWARD follows isn't known, so neither is what becomes of it if they have rules."""
    text = table("nat", "-A PREROUTING -j DNAT --to-destination 10.0.0.9")
    assert judged(text, "in 10.0.0.1:80").verdict == Translated(ip_address("10.0.0.9"), 80)
    filtered = text + table("filter", "-A FORWARD -j DROP")
    assert isinstance(judged(filtered, "in 10.0.0.1:80").verdict, Unknown)


def test_every_rule_visited_says_why() -> None:
    evaluation = evaluate(rules(POD, 4), Connection.parse("10.96.0.7:80"))
    reasons = {visit.id: (visit.event, visit.why) for visit in evaluation.visited}
    assert reasons["nat/ISTIO_OUTPUT/1"] == (VisitEvent.NOT_MATCHED, "--dport 15020: the destination port is 80")
    assert reasons["nat/ISTIO_OUTPUT/4"] == (VisitEvent.NOT_MATCHED, "-o lo: the outgoing interface is eth0")
    assert reasons["nat/ISTIO_OUTPUT/6"] == (VisitEvent.NOT_MATCHED, "--uid-owner 1337: the user is 0")
    assert reasons["nat/ISTIO_REDIRECT/1"] == (VisitEvent.MATCHED, "-p tcp: the protocol is tcp")
    assert isinstance(evaluation.verdict, Redirected)
    assert evaluation.verdict.rule == "nat/ISTIO_REDIRECT/1"


def test_what_lets_a_connection_pass_is_named() -> None:
    verdict = evaluate(rules(POD, 4), Connection.parse("10.96.0.7:80 uid=1337")).verdict
    assert verdict.rule == "nat/ISTIO_OUTPUT/6"


names = st.sampled_from(("OUTPUT", "A", "B"))
tests = st.sampled_from(("", "-p tcp", "-p udp", "-o lo", "-p tcp --dport 80", "-m owner ! --uid-owner 7", "-m limit"))
targets = st.sampled_from(
    ("A", "B", "RETURN", "ACCEPT", "DROP", "REDIRECT --to-ports 1", "MARK --set-mark 1", "LOG", "CT --notrack", "WHAT")
)


@given(
    st.lists(st.tuples(st.sampled_from(("raw", "mangle", "nat")), names, tests, targets), max_size=12),
    st.sampled_from(("10.0.0.1:80", "udp 10.0.0.1:80 uid=7", "127.0.0.1:81", "10.0.0.1:80 state=INVALID")),
)
def test_any_rules_give_a_verdict_that_its_steps_explain(made: list[tuple[str, str, str, str]], line: str) -> None:
    text = "".join(
        table(name, ":OUTPUT ACCEPT", ":A -", ":B -", *(f"-A {c} {t} -j {j}" for n, c, t, j in made if n == name))
        for name in ("raw", "mangle", "nat")
    )
    evaluation = judged(text, line)
    by = evaluation.verdict.rule
    assert not by or any(visit.id == by for visit in evaluation.visited)
    for visit in evaluation.visited:
        assert visit.why
