"""Matchers of filter chains: what is said where something is not known, and why each lost. What matches is held against
a real Envoy by test_chain_matcher_live.py."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener
from google.protobuf.json_format import ParseDict

from pilotfish.envoy.filter_state import NETNS
from pilotfish.explain.call import Call, Direction, Failure, Tls
from pilotfish.explain.chain_matcher import reachable
from pilotfish.explain.extensions import known
from pilotfish.explain.filter_state import StateValue
from pilotfish.explain.listeners import choose_chain
from tests.explain.matchers import Json, at, both, either, exact, first, into, prefix, ranges, single, to, unless

VM = {NETNS: StateValue("/run/netns/pf-m.vm.a")}
SCOPES = prefix(
    at("FilterState", key=NETNS),
    {
        "/run/netns/pf-m.vm.": into(exact(at("ApplicationProtocol"), {"'http/1.1'": to("vm-http")}, to("vm"))),
        "/run/netns/pf-m.vm.b": to("vm.3f2a"),
        "/run/netns/pf-m.web.": to("web"),
    },
)
X = Tls("x")
SERVER_NAME, SOURCE = at("ServerName"), at("SourceIP")
MINE = {"name": "mine", "typed_config": {"@type": "type.googleapis.com/my.Input"}}
UNKNOWN = {"single_predicate": {"input": at("ServerName"), "custom_match": {"name": "cel", "typed_config": {}}}}


def listener(matcher: Json, default: bool = False) -> Listener:
    chains = ("vm", "vm-http", "vm.3f2a", "web", "a", "b")
    made: Json = {"filter_chains": [{"name": each} for each in chains], "filter_chain_matcher": matcher}
    made["listener_filters"] = [{"name": f"envoy.filters.listener.{each}_inspector"} for each in ("tls", "http")]
    made |= {"default_filter_chain": {"name": "default"}} if default else {}
    for each in made["listener_filters"]:
        kind = "Tls" if "tls" in each["name"] else "Http"
        package = f"envoy.extensions.filters.listener.{kind.lower()}_inspector.v3"
        each["typed_config"] = {"@type": f"type.googleapis.com/{package}.{kind}Inspector"}
    return ParseDict(known(made), Listener(), ignore_unknown_fields=True)


def call(**fields: Any) -> Call:
    return Call(Direction.OUTBOUND, "10.0.0.1", 80, **{"state": VM, **fields})


def test_who_lost_is_named_with_what_is_there() -> None:
    found = choose_chain(listener(SCOPES), call())
    assert found.taken is not None
    assert (found.taken.name, found.why) == (
        "vm-http",
        "the network namespace begins with /run/netns/pf-m.vm. and the protocol is 'http/1.1'",
    )
    assert [(each.name, each.reason) for each in found.rejected] == [
        ("vm.3f2a", "the network namespace begins with /run/netns/pf-m.vm.b; it is /run/netns/pf-m.vm.a"),
        ("web", "the network namespace begins with /run/netns/pf-m.web.; it is /run/netns/pf-m.vm.a"),
    ]


def test_a_connection_from_nowhere_is_taken_by_nobody() -> None:
    found = choose_chain(listener(SCOPES), call(state={}))
    assert (found.taken, found.failure) == (None, None)
    assert {each.reason.partition("; ")[2] for each in found.rejected} == {"there is none"}


@pytest.mark.parametrize(
    ("matcher", "asked", "chosen"),
    [
        (exact(SOURCE, {"10.0.0.2": to("a")}, to("b")), call(), None),
        (exact(SOURCE, {"10.0.0.2": to("a")}, to("a")), call(), "a"),
        (exact(SOURCE, {"10.0.0.2": to("a")}, to("b")), call(source="10.0.0.2"), "a"),
        (ranges(SOURCE, (["10.0.0.0/8"], to("a"), False), otherwise=to("b")), call(), None),
        (first((UNKNOWN, to("a")), otherwise=to("b")), call(tls=X), None),
        (first((UNKNOWN, to("a")), otherwise=to("a")), call(tls=X), "a"),
        (first((either(UNKNOWN, single(at("ServerName"), exact="x")), to("a"))), call(tls=X), "a"),
        (first((both(UNKNOWN, single(at("ServerName"), exact="y")), to("a")), otherwise=to("b")), call(), "b"),
        (first((unless(UNKNOWN), to("a")), otherwise=to("b")), call(), None),
        (exact(MINE, {"x": to("a")}), call(), None),
        (first((single(SERVER_NAME, exact="x"), to("a", keep_matching=True)), otherwise=to("b")), call(tls=X), "b"),
    ],
)
def test_what_is_not_known_is_not_guessed(matcher: Json, asked: Call, chosen: str | None) -> None:
    found = choose_chain(listener(matcher), asked)
    assert found.failure is (Failure.UNKNOWN if chosen is None else None)
    assert (found.taken.name if found.taken is not None else None) == chosen
    assert chosen is not None or found.why.startswith("which chain is taken depends on what is not known here: ")


def test_a_matcher_or_an_action_of_an_unknown_kind_may_lead_anywhere() -> None:
    custom = {"name": "mine", "typed_config": {"@type": "type.googleapis.com/my.Matcher", "x": 1}}
    matcher = {"matcher_tree": {"input": at("ServerName"), "custom_match": custom}}
    assert "the matcher mine is not read here" in choose_chain(listener(matcher), call()).why
    format_ = {"@type": "type.googleapis.com/envoy.config.core.v3.SubstitutionFormatString"}
    named = {"on_no_match": {"action": {"name": "by text", "typed_config": format_}}}
    assert choose_chain(listener(named), call()).why == "its matcher's action by text is not read here"
    for each in (matcher, named):
        assert len(list(reachable(listener(each), VM))) == len(listener(each).filter_chains)


def test_the_chains_of_a_pod_are_those_that_its_namespace_leads_to() -> None:
    assert [each.chain.name for each in reachable(listener(SCOPES, default=True), VM)] == ["vm", "vm-http"]
    assert [each.chain.name for each in reachable(listener(SCOPES, default=True), {})] == ["default"]


def test_a_chain_that_there_is_not_takes_nothing() -> None:
    found = choose_chain(listener({"on_no_match": to("nobody")}, default=True), call())
    assert (found.taken, found.failure) == (None, None)
    assert found.why == "its matcher takes nobody, which is no chain of its"
