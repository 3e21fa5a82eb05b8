"""What a request that was really sent confirms of its prediction, and what it contradicts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pilotfish.explain.accesslog import AccessLogEntry, parse_access_log
from pilotfish.explain.live import Observed, compare
from pilotfish.explain.trace import End, Stage, Trace
from tests.explain.test_walk import address, way

LINE = (
    '[2026-11-26T01:00:00.000Z] "GET /web HTTP/1.1" 200 - via_upstream - "-" 0 2 1 1 "-" "curl/8" "id" "web" '
    '"{host}" {cluster} 10.0.0.1:1 10.96.0.1:80 10.0.0.1:2 - default'
)
CLUSTER = "outbound|80||web.vm.svc.cluster.local"


def entry(host: str, cluster: str = CLUSTER) -> AccessLogEntry:
    found = parse_access_log(LINE.format(host=host, cluster=cluster))
    assert found is not None
    return replace(found, route_name="")


def marked(trace: Trace, observed: Observed) -> dict[tuple[str, str], bool]:
    """By stage and name."""
    marks = compare(trace, observed)
    return {(s.stage.value, s.name): marks[s.id] for s in trace.steps if s.id in marks}


def test_of_the_ways_of_chance_the_one_that_was_taken_is_marked() -> None:
    taken, other = f"{address('web-2')}:8080", f"{address('web-1')}:8080"
    observed = Observed(200, End.DELIVERED, entry(taken), frozenset({"nat/ISTIO_REDIRECT/1"}))
    marks = marked(way("client", "http://web/web"), observed)
    assert marks[Stage.CLUSTER.value, CLUSTER]
    assert marks[Stage.ENDPOINT.value, taken]
    assert (Stage.ENDPOINT.value, other) not in marks
    assert marks[Stage.NETFILTER.value, "nat/ISTIO_REDIRECT/1"]
    assert marks[Stage.APP.value, taken]


def test_a_rule_that_counted_nothing_contradicts() -> None:
    observed = Observed(200, End.DELIVERED, entry(f"{address('web-1')}:8080"), frozenset())
    assert not marked(way("client", "http://web/web"), observed)[Stage.NETFILTER.value, "nat/ISTIO_REDIRECT/1"]


def test_where_nobody_counts_no_rule_is_marked() -> None:
    observed = Observed(200, End.DELIVERED, entry(f"{address('web-1')}:8080"))
    marks = marked(way("client", "http://web/web"), observed)
    assert marks[Stage.CLUSTER.value, CLUSTER]
    assert not any(stage == Stage.NETFILTER.value for stage, _ in marks)


@pytest.mark.parametrize("seen", ["PassthroughCluster", "outbound|80|v1|web.vm.svc.cluster.local"])
def test_another_cluster_than_predicted_contradicts(seen: str) -> None:
    observed = Observed(200, End.DELIVERED, entry(f"{address('web-1')}:8080", seen))
    assert marked(way("client", "http://web/web"), observed)[Stage.CLUSTER.value, CLUSTER] is False


def test_an_answer_of_the_proxy_s_is_told_by_its_status() -> None:
    trace, counted = way("client", "http://web/old"), frozenset({"nat/ISTIO_REDIRECT/1"})
    rule, end = trace.at(Stage.NETFILTER)[0].id, trace.outcomes[0].last_step
    assert compare(trace, Observed(301, End.DELIVERED, counted=counted)) == {rule: True, end: True}
    assert compare(trace, Observed(200, End.DELIVERED, counted=counted)) == {}
