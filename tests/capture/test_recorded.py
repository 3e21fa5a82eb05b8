"""Rules and access logs of a real Istio: the evaluator sends each logged connection the way that the log shows."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from pilotfish.capture import Accepted, Connection, Direction, Evaluator, Redirected, RuleSet, parse_iptables
from pilotfish.explain.accesslog import AccessLogEntry, parse_access_log

PODS = ("webapp-0", "calculator-v1")
PROXY = 1337


@pytest.fixture
def recorded(conformance: Path) -> Path:
    return conformance / "istio" / "allow-any"


def rules_of(recorded: Path, pod: str) -> RuleSet:
    return parse_iptables((recorded / f"{pod}.iptables-save").read_text())


def log_of(recorded: Path, pod: str) -> list[AccessLogEntry]:
    lines = (recorded / f"{pod}.access.log").read_text().splitlines()
    return [entry for line in lines if (entry := parse_access_log(line))]


def split(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


@pytest.mark.parametrize("pod", PODS)
def test_rules_are_read_with_their_counters(recorded: Path, pod: str) -> None:
    ruleset = rules_of(recorded, pod)
    assert len(ruleset.table("nat").chain("ISTIO_OUTPUT").rules) == 9
    assert all(rule.counters is not None for _, rule in ruleset.numbered())


@pytest.mark.parametrize("pod", PODS)
def test_what_the_proxy_was_given_is_redirected_to_it(recorded: Path, pod: str) -> None:
    """An entry in the log of the proxy is a connection that came to it: outbound to 15001, inbound to 15006."""
    evaluator, log = Evaluator(rules_of(recorded, pod)), log_of(recorded, pod)
    assert log
    for entry in log:
        (host, port), (source, source_port) = (
            split(entry.downstream_local_address),
            split(entry.downstream_remote_address),
        )
        direction = Direction.IN if entry.is_inbound else Direction.OUT
        connection = Connection(direction, "tcp", ip_address(host), port, ip_address(source), source_port)
        assert evaluator.evaluate(connection).verdict == Redirected(15006 if entry.is_inbound else 15001), entry


@pytest.mark.parametrize("pod", PODS)
def test_what_the_proxy_sends_passes(recorded: Path, pod: str) -> None:
    """Its connection to the upstream host has the source that is logged: 127.0.0.6 to its app, the pod's to others."""
    evaluator, log = Evaluator(rules_of(recorded, pod)), log_of(recorded, pod)
    sent = [entry for entry in log if entry.upstream_local_address]
    assert sent
    for entry in sent:
        (host, port), (source, source_port) = split(entry.upstream_host), split(entry.upstream_local_address)
        connection = Connection(
            Direction.OUT,
            "tcp",
            ip_address(host),
            port,
            ip_address(source),
            source_port,
            uid=PROXY,
            gid=PROXY,
            local=entry.is_inbound,
        )
        assert evaluator.evaluate(connection).verdict == Accepted(), entry


def test_the_kernel_counted_the_rules_that_the_evaluator_names(recorded: Path) -> None:
    """What decides about a logged connection has matched at least as often as there are such connections."""
    ruleset = rules_of(recorded, "webapp-0")
    counted = {id: rule.counters.packets for id, rule in ruleset.numbered() if rule.counters}
    evaluator = Evaluator(ruleset)
    decided = []
    for entry in log_of(recorded, "webapp-0"):
        host, port = split(entry.downstream_local_address)
        decided.append(evaluator.evaluate(Connection(Direction.OUT, "tcp", ip_address(host), port)).verdict.rule)
    assert decided
    assert all(counted[id] >= decided.count(id) for id in decided)
