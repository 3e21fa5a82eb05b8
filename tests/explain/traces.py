"""Traces to be shown, made by hand: as large and as hostile as they come."""

from __future__ import annotations

from dataclasses import replace

from pilotfish.explain.ask import Ask, parse
from pilotfish.explain.owner import Owner
from pilotfish.explain.report import Report, build_report
from pilotfish.explain.trace import Branch, End, Rejected, Side, Stage, Tape, Trace, Verdict
from pilotfish.explain.written import Written

HOSTILE = "<script>alert(1)</script>\"'&\x00\x1b[31m\ud800 ]]>"
ASK: Ask = parse("http://web/")


def report_of(trace: Trace, ask: Ask = ASK, name: str = "web", file: str = "mesh.yaml") -> Report:
    """Every owner is the same VirtualService, `name`, in `file`."""
    owner = Owner("VirtualService", "vm", name, "spec.http[0]", file, 31)
    routes = (step for step in trace.steps if step.written.config)
    return build_report("client.vm", ask, trace, {step.id: owner for step in routes})


def client(tape: Tape) -> Branch:
    at = Branch(tape, Side.CLIENT, "client.vm").step(Stage.DNS, "web.vm.svc.cluster.local")
    evidence = {"connection": "out", "verdict": "redirected to port 15001"}
    return at.step(Stage.NETFILTER, "nat/ISTIO_REDIRECT/1", evidence=evidence)


def route(at: Branch, lost: int = 0, name: str = "rest", why: str = "path begins with /") -> Branch:
    rejected = [Rejected(f"team-{i}", f"header x-team is 'team {i}'; there is none") for i in range(lost)]
    at = at.step(Stage.LISTENER, "0.0.0.0_80").step(Stage.VIRTUAL_HOST, "web.vm.svc.cluster.local:80")
    return at.step(Stage.ROUTE, name, written=Written("/x"), evidence={"why": why}, rejected=rejected)


def cluster(at: Branch, subset: str, share: float = 1.0) -> Branch:
    return at.step(Stage.CLUSTER, f"outbound|80|{subset}|web.vm.svc.cluster.local", share=share)


def endpoint(at: Branch, number: int, share: float, pod: str, side: Side = Side.SERVER) -> Branch:
    return at.step(Stage.ENDPOINT, f"10.244.0.{number}:8000", share=share).beyond(side=side, pod=pod)


def answer(at: Branch) -> None:
    at.step(Stage.NETFILTER, "nat/ISTIO_IN_REDIRECT/1").step(Stage.APP, "10.244.0.2:8000").end(End.DELIVERED)


def large() -> Trace:
    """Three gateways one behind the other, forty routes that lost, twenty replicas, and a subset that has none."""
    tape = Tape()
    at = route(client(tape), lost=40)
    for number in range(3):
        at = route(endpoint(cluster(at, ""), 90 + number, 1.0, f"gateway-{number}.istio-system", Side.GATEWAY))
    some = cluster(at, "v1", 0.8)
    for number in range(20):
        answer(endpoint(some, number, 1 / 20, f"web-v1-{number}.vm"))
    none = cluster(at, "v3", 0.2).step(Stage.ENDPOINT, "none", verdict=Verdict.REFUSED)
    none.end(End.RESPONSE, "subset v3 of web has no endpoint that may be used", status=503, flag="UH")
    return tape.trace()


def unlike() -> Trace:
    """Twenty endpoints, each of which answers otherwise."""
    tape = Tape()
    at = cluster(route(client(tape)), "")
    for number in range(20):
        there = endpoint(at, number, 1 / 20, f"web-{number}.vm")
        verdict = Verdict.REFUSED if number % 2 else Verdict.UNKNOWN
        last = there.step(Stage.HTTP_FILTER, f"filter-{number}", verdict=verdict)
        last.end(End.RESPONSE, "it answers by itself", status=500 + number)
    return tape.trace()


def parted() -> Trace:
    """Chance decides before anything else does."""
    tape = Tape()
    for number in range(2):
        at = Branch(tape, Side.CLIENT, "client.vm").step(Stage.DNS, f"istio-system/gateway-{number}/tcp/80", share=0.5)
        answer(endpoint(cluster(route(at.beyond(side=Side.GATEWAY, pod=f"gateway-{number}")), ""), 1, 1.0, "web.vm"))
    return tape.trace()


def hostile() -> Trace:
    """Every text is one that would break out of its place, or its line."""
    tape = Tape()
    long = HOSTILE + "a" * 300 + " " + "日本語" * 60
    at = cluster(route(replace(client(tape), machine=long), name=long, why=long), HOSTILE)
    at = endpoint(at, 1, 1.0, long).step(Stage.TLS, long, evidence={HOSTILE: long}, rejected=[Rejected(long, long)])
    at.end(End.RESET, long)
    return tape.trace()
