"""Ways out of what an Envoy of a real Istio says of itself, against what that Envoy logged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pilotfish.capture import parse_iptables
from pilotfish.explain.accesslog import AccessLogEntry, parse_access_log
from pilotfish.explain.ask import parse
from pilotfish.explain.call import Failure
from pilotfish.explain.dumps import Dumped, build_scene
from pilotfish.explain.trace import End, Stage, Trace, Verdict
from pilotfish.explain.walk import explain
from tests.explain.machine_dump import build_dump


def dumped(folder: Path, pod: str) -> Dumped:
    read = {
        part: (folder / f"{pod}.{part}").read_text() for part in ("config_dump.json", "clusters.json", "iptables-save")
    }
    dump, clusters = json.loads(read["config_dump.json"]), json.loads(read["clusters.json"])
    return Dumped(dump, clusters, parse_iptables(read["iptables-save"]))


def way(folder: Path, to: str, **options: Any) -> Trace:
    scene, client = build_scene(dumped(folder, "webapp-0"))
    return explain(scene, client, parse(to, **options))


def test_each_logged_request_goes_where_it_is_predicted_to_go(conformance: Path) -> None:
    folder = conformance / "istio" / "allow-any"
    entries = [parse_access_log(line) for line in (folder / "webapp-0.access.log").read_text().splitlines()]
    asked = ("/x", "/x", "/x", "/", None)
    checked = 0
    for entry, path in zip(entries, asked, strict=True):
        assert entry is not None
        trace = way(folder, _url(entry, path), headers=[f"Host: {entry.authority}"] if path else ())
        routes = [step.name for step in trace.at(Stage.ROUTE)]
        assert entry.upstream_cluster in [step.name for step in trace.at(Stage.CLUSTER)]
        assert entry.upstream_host in [step.name for step in trace.at(Stage.ENDPOINT)]
        assert not entry.route_name or routes == [entry.route_name]
        checked += 1
    assert checked == 5


def _url(entry: AccessLogEntry, path: str | None) -> str:
    """The address that the client called."""
    return f"http://{entry.downstream_local_address}{path}" if path else f"tcp://{entry.downstream_local_address}"


def test_both_sides_of_a_connection(conformance: Path) -> None:
    folder = conformance / "istio" / "allow-any"
    scene, client = build_scene(dumped(folder, "webapp-0"), dumped(folder, "calculator-v1"))
    trace = explain(scene, client, parse("http://10.245.1.2:8888/"))
    (outcome,) = trace.outcomes
    assert (outcome.kind, outcome.pod) == (End.DELIVERED, "calculator-v1.vm")
    assert [s.name for s in trace.at(Stage.CLUSTER)] == ["PassthroughCluster", "inbound|8888||"]


def test_a_filter_that_is_not_known_makes_what_lies_behind_it_unknown(conformance: Path) -> None:
    folder = conformance / "istio" / "allow-any"
    client = dumped(folder, "webapp-0")
    text = json.dumps(client.config_dump)
    strange = '{"name": "acme.guard", "typed_config": {"@type": "type.googleapis.com/acme.v1.Guard", "strict": true}}, '
    cors = '{"name": "envoy.filters.http.cors"'
    assert cors in text
    scene, caller = build_scene(Dumped(json.loads(text.replace(cors, strange + cors))))
    trace = explain(scene, caller, parse("http://ledger.vm.svc.cluster.local/x"))
    assert {(outcome.kind, outcome.failure) for outcome in trace.outcomes} == {(End.UNKNOWN, Failure.UNKNOWN)}
    said = "what the filter acme.guard does is not known here; if it lets this pass: "
    assert [outcome.cause.startswith(said) for outcome in trace.outcomes] == [True] * len(trace.outcomes)
    (named,) = trace.at(Stage.HTTP_FILTER)
    assert named.name == "acme.guard"
    assert {step.verdict for step in trace.steps if step.id >= named.id} == {Verdict.UNKNOWN}
    assert {step.verdict for step in trace.steps if step.id < named.id} == {Verdict.TAKEN}


def test_endpoints_that_a_dump_does_not_hold_are_unknown_until_clusters_says_them(conformance: Path) -> None:
    both = dumped(conformance / "istio" / "allow-any", "webapp-0")
    configs = [each for each in both.config_dump["configs"] if not each["@type"].endswith("EndpointsConfigDump")]
    bare = {"configs": configs}
    ends = []
    for given in (Dumped(bare), Dumped(bare, both.clusters), both):
        scene, client = build_scene(given)
        outcomes = explain(scene, client, parse("http://ledger.vm.svc.cluster.local/x")).outcomes
        ends.append([(outcome.kind, outcome.endpoint) for outcome in outcomes])
    assert ends[0] == [(End.UNKNOWN, "")]
    assert ends[1] == ends[2] != ends[0]


# A machine's proxy


def test_a_machines_dump_is_asked_for_one_of_its_pods() -> None:
    dumped = Dumped(build_dump())
    scene, client = build_scene(dumped, pod="web-0.vm")
    assert client is not None
    trace = explain(scene, client, parse("http://web/"))
    assert [step.name for step in trace.at(Stage.LISTENER)] == ["virtualOutbound~web-0.vm", "0.0.0.0_80"]
    assert {step.machine for step in trace.at(Stage.CLUSTER)} == {"local"}
    assert {outcome.cause for outcome in trace.outcomes} == {
        f"what happens at 10.244.0.{number}:8080 is not given" for number in (3, 4)
    }
    with pytest.raises(ValueError, match=r"serves db-0.shop, web-0.vm, web-1.vm: say which of them calls"):
        build_scene(dumped)
    with pytest.raises(ValueError, match=r"it does not serve nobody.vm"):
        build_scene(dumped, pod="nobody.vm")
