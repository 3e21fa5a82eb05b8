"""Dialogues between one proxy and its stream."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from pilotfish.ads import DeltaRequest, Effect, Stream, StreamCache, WorldRequest
from pilotfish.ads.watch import PATIENCE
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from pilotfish.envoy.values import ResourceSet
from pilotfish.model.sync import Sync
from tests.ads.envoys import BY_LETTER, resources, said, sent


class Dialogue:
    """Says things to a stream, and keeps the nonce of the last response of each type for the answers."""

    def __init__(self, first: ResourceSet, delta: bool = True) -> None:
        self.now = 0.0
        self.stream = Stream(StreamCache(), delta=delta)
        self.delta = delta
        self.nonces: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        assert self.stream.update(first, self.now) == ()

    def _note(self, effects: tuple[Effect, ...]) -> list[str]:
        for payload in sent(effects):
            self.nonces[payload.type_url] = payload.nonce
        return said(effects)

    def asks(
        self, letter: str, *names: str, drop: tuple[str, ...] = (), initial: Mapping[str, str] | None = None
    ) -> list[str]:
        request = DeltaRequest(BY_LETTER[letter], subscribe=names, unsubscribe=drop, initial=initial or {})
        return self._note(self.stream.receive(request, self.now))

    def acks(self, letter: str) -> list[str]:
        return self._answer(letter, None)

    def nacks(self, letter: str, error: str) -> list[str]:
        return self._answer(letter, error)

    def _answer(self, letter: str, error: str | None) -> list[str]:
        request = DeltaRequest(BY_LETTER[letter], nonce=self.nonces[BY_LETTER[letter]], error=error)
        return self._note(self.stream.receive(request, self.now))

    def world(
        self, letter: str, *names: str, nonce: str = "", version: str = "", error: str | None = None
    ) -> list[str]:
        request = WorldRequest(
            BY_LETTER[letter], nonce or self.nonces.get(BY_LETTER[letter], ""), error, names, version
        )
        return self._note(self.stream.receive(request, self.now))

    def update(self, to: ResourceSet) -> list[str]:
        return self._note(self.stream.update(to, self.now))

    def waits(self, seconds: float) -> list[str]:
        self.now += seconds
        return self._note(self.stream.tick(self.now))


ONE = resources({"a": "1"}, {"a": "1"}, {"l": "r"}, {"r": "a"})


def joined(first: ResourceSet = ONE) -> Dialogue:
    """A proxy that has all of it."""
    d = Dialogue(first)
    letters = {"C": CLUSTER, "E": ENDPOINT, "L": LISTENER, "R": ROUTE}
    for letter, type_url in letters.items():
        names = tuple(r.name for r in first.resources(type_url)) if letter in "ER" else ()
        if letter in "CL" or names:
            d.asks(letter, *names)
            d.acks(letter)
    assert d.stream.settled
    return d


def test_a_new_proxy_gets_what_it_asks_for_and_its_acks_end_it() -> None:
    d = Dialogue(ONE)
    assert d.asks("C") == ["C+a"]
    assert d.asks("E", "a") == ["E+a"], "endpoints do not wait for the clusters' ACK, which waits for them"
    assert d.asks("L") == [], "listeners wait until the new clusters are warm"
    assert d.acks("E") == ["ack E"]
    assert d.acks("C") == ["ack C", "L+l"]
    assert d.asks("R", "r") == ["R+r"]
    assert not d.stream.settled
    assert d.acks("L") == ["ack L"]
    assert d.acks("R") == ["ack R"]
    assert d.stream.settled
    assert {d.stream.sync(t) for t in (CLUSTER, ENDPOINT, LISTENER, ROUTE)} == {Sync.SYNCED}


def test_a_new_proxy_that_is_due_nothing_is_told_so() -> None:
    d = Dialogue(resources())
    assert d.asks("C") == ["C"]
    assert d.asks("L") == ["L"]
    assert d.acks("C") == ["ack C"]
    assert d.acks("L") == ["ack L"]


def test_a_proxy_that_reconnects_is_sent_nothing_that_it_has() -> None:
    d = Dialogue(ONE)
    versions = {t: {r.name: r.version for r in ONE.resources(t)} for t in (CLUSTER, ENDPOINT, LISTENER, ROUTE)}
    assert d.asks("C", initial=versions[CLUSTER]) == []
    assert d.asks("E", "a", initial=versions[ENDPOINT]) == []
    assert d.asks("L", initial=versions[LISTENER]) == []
    assert d.asks("R", "r", initial=versions[ROUTE]) == []
    assert d.stream.settled


def test_a_proxy_that_reconnects_is_sent_what_differs_and_keeps_what_its_routes_name() -> None:
    d = Dialogue(ONE)
    old = {"a": "0", "gone": "0"}
    assert d.asks("C", initial=old) == ["C+a"], "its routes may still name the cluster that is gone"
    assert d.acks("C") == ["ack C"]
    assert d.asks("E", "a", initial={"a": "0"}) == ["E+a"]
    assert d.acks("E") == ["ack E"]
    assert d.asks("L", initial={"l": next(ONE.resources(LISTENER)).version}) == []
    assert d.asks("R", "r", initial={"r": "0"}) == ["R+r"]
    assert d.acks("R") == ["ack R", "C-gone"]
    assert d.acks("C") == ["ack C"]
    assert d.stream.settled


def test_a_proxy_that_asks_for_endpoints_before_clusters_warms_some_and_is_sent_all_endpoints() -> None:
    """Its earlier stream broke after the clusters and before their endpoints; it withholds its request for clusters."""
    d = Dialogue(ONE)
    versions = {t: {r.name: r.version for r in ONE.resources(t)} for t in (CLUSTER, ENDPOINT, LISTENER, ROUTE)}
    assert d.asks("E", "a", initial=versions[ENDPOINT]) == ["E+a"]
    assert d.asks("L", initial=versions[LISTENER]) == []
    assert d.acks("E") == ["ack E"]
    assert d.asks("C", initial=versions[CLUSTER]) == []
    world = Dialogue(ONE, delta=False)
    world.world("E", "a")
    version = world.stream.watches[ENDPOINT].version(ONE.layers(ENDPOINT))
    again = Dialogue(ONE, delta=False)
    assert again.world("E", "a", version=version) == ["E+a"]


def test_an_update_sends_what_differs_only() -> None:
    d = joined(resources({"a": "1", "b": "1"}, {"a": "1", "b": "1"}))
    assert d.update(resources({"a": "1", "b": "1"}, {"a": "1", "b": "2"})) == ["E+b"]
    assert d.acks("E") == ["ack E"]
    assert d.update(resources({"a": "1", "b": "1"}, {"a": "1", "b": "2"})) == []


def test_make_before_break() -> None:
    d = joined()
    two = resources({"b": "1"}, {"b": "1"}, {"m": "s"}, {"s": "b"})
    assert d.update(two) == ["C+b"]
    assert d.asks("E", "b") == ["E+b"]
    assert d.acks("E") == ["ack E"]
    assert d.acks("C") == ["ack C", "L+m-l"]
    assert d.asks("R", "s", drop=("r",)) == ["R+s"]
    assert d.acks("L") == ["ack L"]
    assert d.acks("R") == ["ack R", "C-a"], "only now does no route name the old cluster"
    assert d.asks("E", drop=("a",)) == []
    assert d.acks("C") == ["ack C"]
    assert d.stream.settled


def test_updates_merge_while_a_response_is_under_way() -> None:
    d = joined()
    assert d.update(resources({"a": "1"}, {"a": "2"}, {"l": "r"}, {"r": "a"})) == ["E+a"]
    assert d.update(resources({"a": "1"}, {"a": "3"}, {"l": "r"}, {"r": "a"})) == []
    assert d.update(resources({"a": "1"}, {"a": "4"}, {"l": "r"}, {"r": "a"})) == []
    assert d.acks("E") == ["ack E", "E+a"]
    assert d.acks("E") == ["ack E"]


def test_an_update_and_its_reversal_before_the_ack_end_where_they_began() -> None:
    d = joined()
    d.update(resources({"a": "1"}, {"a": "2"}, {"l": "r"}, {"r": "a"}))
    d.update(ONE)
    assert d.acks("E") == ["ack E", "E+a"]


def test_clusters_that_can_not_warm_hold_others_back_for_a_while_only() -> None:
    d = joined()
    three = resources({"a": "1", "dns": "1"}, {"a": "1"}, {"l": "r"}, {"r": "a dns"})
    assert d.update(three) == ["C+dns"]
    assert d.stream.wake_at == pytest.approx(PATIENCE)
    assert d.waits(PATIENCE) == ["R+r"]
    assert d.stream.wake_at is None
    assert d.acks("R") == ["ack R"]
    assert d.stream.sync(CLUSTER) is Sync.STALE
    assert d.acks("C") == ["ack C"]
    assert d.stream.settled


def test_a_name_that_does_not_exist_is_told_at_once_and_sent_when_it_does() -> None:
    d = joined()
    assert d.asks("R", "nope") == ["R-nope"]
    assert d.acks("R") == ["ack R"]
    assert d.update(resources({"a": "1"}, {"a": "1"}, {"l": "r"}, {"r": "a", "nope": "a"})) == ["R+nope"]


def test_a_name_that_is_subscribed_again_is_sent_again() -> None:
    d = joined()
    assert d.asks("E", "a") == ["E+a"], "the proxy made the cluster anew, and waits"


def test_endpoints_are_sent_again_for_a_cluster_that_is_made_anew() -> None:
    d = joined()
    assert d.update(resources({"a": "2"}, {"a": "1"}, {"l": "r"}, {"r": "a"})) == ["C+a", "E+a"]


def test_endpoints_are_sent_again_for_a_cluster_that_changed_while_the_proxy_was_away() -> None:
    d = Dialogue(ONE)
    assert d.asks("C", initial={"a": "0"}) == ["C+a"]
    assert d.asks("E", "a", initial={"a": next(ONE.resources(ENDPOINT)).version}) == ["E+a"]


def test_what_is_not_subscribed_is_not_sent() -> None:
    d = joined(resources({"a": "1", "b": "1"}, {"a": "1", "b": "1"}))
    assert d.asks("E", drop=("b",)) == []
    assert d.update(resources({"a": "1", "b": "1"}, {"a": "1", "b": "2"})) == []
    assert d.asks("E", "b") == ["E+b"]


def test_an_explicit_wildcard_and_names_beside_it() -> None:
    d = Dialogue(resources({"a": "1", "b": "1"}))
    assert d.asks("C", "a") == ["C+a"], "a first request with names is no wildcard"
    assert d.acks("C") == ["ack C"]
    assert d.asks("C", "*") == ["C+b"]
    assert d.acks("C") == ["ack C"]
    assert d.asks("C", drop=("a",)) == ["C+a"], "the proxy can't know whether the wildcard covers it"
    assert d.acks("C") == ["ack C"]
    assert d.asks("C", drop=("*",)) == []
    assert d.update(resources({"a": "2", "b": "2"})) == []


def test_a_refused_resource_is_not_offered_again_until_it_changes() -> None:
    d = joined(resources({"a": "1", "b": "1"}))
    assert d.update(resources({"a": "2", "b": "2"})) == ["C+a,b"]
    assert d.nacks("C", "Error adding/updating cluster(s) a: no good") == ["nack C a"]
    assert d.stream.sync(CLUSTER) is Sync.REFUSED
    assert d.stream.watches[CLUSTER].error.endswith("no good")
    assert d.update(resources({"a": "2", "b": "3"})) == ["C+b"], "others' changes still go through"
    assert d.acks("C") == ["ack C"]
    assert d.update(resources({"a": "1", "b": "3"})) == [], "the proxy kept its last good form"
    assert d.stream.sync(CLUSTER) is Sync.SYNCED
    assert d.update(resources({"a": "2", "b": "3"})) == ["C+a"], "it may be tried anew after that"


def test_a_refusal_that_comes_once_the_resource_is_withdrawn_or_another_does_not_stand() -> None:
    d = joined(resources({"a": "1"}))
    assert d.update(resources({"a": "1", "b": "bad"})) == ["C+b"]
    assert d.update(resources({"a": "1"})) == []
    assert d.nacks("C", "Error adding/updating cluster(s) b: no good") == ["nack C b"]
    assert d.stream.sync(CLUSTER) is Sync.SYNCED
    assert d.update(resources({"a": "bad"})) == ["C+a"]
    assert d.update(resources({"a": "2"})) == []
    assert d.nacks("C", "Error adding/updating cluster(s) a: no good") == ["nack C a", "C+a"]
    assert d.acks("C") == ["ack C"]
    assert d.stream.sync(CLUSTER) is Sync.SYNCED


def test_one_bad_of_many_is_found_where_envoy_does_not_name_it() -> None:
    d = joined(resources({}, {}, {"l": "r"}, {"r": "1", "s": "1"}))
    assert d.update(resources({}, {}, {"l": "r"}, {"r": "2", "s": "2"})) == ["R+r,s"]
    assert d.nacks("R", "missing )") == ["nack R ?", "R+r"]
    assert d.nacks("R", "missing )") == ["nack R r", "R+s"]
    assert d.acks("R") == ["ack R"]
    assert d.stream.sync(ROUTE) is Sync.REFUSED


def test_what_was_refused_the_first_time_is_said_to_be_absent_once_it_is_withdrawn() -> None:
    d = joined(resources({}, {}, {"l": "r"}))
    d.update(resources({}, {}, {"l": "r"}, {"r": "bad"}))
    assert d.asks("R", "r") == ["R+r"]
    assert d.nacks("R", "bad") == ["nack R r"]
    assert d.update(resources({}, {}, {"l": "r"})) == ["R-r"]


def test_clusters_stay_while_a_refused_route_still_names_them() -> None:
    d = joined()
    assert d.update(resources({"b": "1"}, {"b": "1"}, {"l": "r"}, {"r": "b, but bad"})) == ["C+b"]
    assert d.acks("C") == ["ack C", "R+r"]
    assert d.nacks("R", "bad") == ["nack R r"], "the old route is in force, and names cluster a"
    assert d.update(resources({"b": "1"}, {"b": "1"}, {"l": "r"}, {"r": "b"})) == ["R+r"]
    assert d.acks("R") == ["ack R", "C-a"]


def test_an_answer_to_an_older_nonce_is_none() -> None:
    d = joined()
    d.update(resources({"a": "1"}, {"a": "2"}, {"l": "r"}, {"r": "a"}))
    assert said(d.stream.receive(DeltaRequest(ENDPOINT, nonce="old"), 0)) == []
    assert said(d.stream.receive(DeltaRequest(ENDPOINT, nonce="old", error="x"), 0)) == []
    assert d.stream.sync(ENDPOINT) is Sync.STALE


def test_a_type_that_discovery_does_not_serve_is_answered() -> None:
    d = Dialogue(ONE)
    effects = d.stream.receive(DeltaRequest("type.googleapis.com/x.Unknown", subscribe=("n",)), 0)
    assert [(p.resources, p.removed) for p in sent(effects)] == [((), ("n",))]


# State of the world


def test_world_sends_all_clusters_and_the_changed_endpoints() -> None:
    d = Dialogue(resources({"a": "1", "b": "1"}, {"a": "1", "b": "1"}), delta=False)
    assert d.world("C") == ["C+a,b"]
    assert d.world("C") == ["ack C"]
    assert d.world("E", "a", "b") == ["E+a,b"]
    assert d.world("E", "a", "b") == ["ack E"]
    assert d.update(resources({"a": "1", "b": "1", "c": "1"}, {"a": "2", "b": "1", "c": "1"})) == ["C+a,b,c", "E+a"]
    assert d.world("E", "a", "b", "c", nonce="stale") == [], "it crossed a response, and will be said again"
    assert d.world("E", "a", "b", "c") == ["ack E", "E+c"]


def test_world_keeps_a_cluster_until_no_route_names_it() -> None:
    d = Dialogue(ONE, delta=False)
    for letter, names in {"C": (), "E": ("a",), "L": (), "R": ("r",)}.items():
        d.world(letter, *names)
        d.world(letter, *names)
    assert d.stream.settled
    assert d.update(resources({"b": "1"}, {"a": "1", "b": "1"}, {"l": "r"}, {"r": "b"})) == ["C+b,a"]
    assert d.world("C") == ["ack C", "R+r"]
    assert d.world("R", "r") == ["ack R", "C+b"]
    assert d.world("C") == ["ack C"]
    assert d.stream.settled


def test_world_sends_endpoints_again_for_a_cluster_that_is_made_anew() -> None:
    d = Dialogue(ONE, delta=False)
    for letter, names in {"C": (), "E": ("a",)}.items():
        d.world(letter, *names)
        d.world(letter, *names)
    assert d.update(resources({"a": "2"}, {"a": "1"}, {"l": "r"}, {"r": "a"})) == ["C+a", "E+a"]


def test_world_keeps_the_last_good_form_of_what_was_refused() -> None:
    d = Dialogue(resources({"a": "1", "b": "1"}), delta=False)
    d.world("C")
    d.world("C")
    d.update(resources({"a": "bad", "b": "1"}))
    assert d.world("C", error="Error adding/updating cluster(s) a: bad") == ["nack C a"]
    effects = d.stream.update(resources({"a": "bad", "b": "2"}), 0)
    assert [(r.name, r.body) for r in sent(effects)[0].resources] == [("b", b"2"), ("a", b"1")]


def test_world_proxy_that_reconnects_with_the_same_version_is_sent_nothing() -> None:
    first = Dialogue(ONE, delta=False)
    first.world("C")
    version = first.stream.watches[CLUSTER].version(ONE.layers(CLUSTER))
    again = Dialogue(ONE, delta=False)
    assert again.world("C", version=version) == []
    assert again.stream.settled
    other = Dialogue(resources({"a": "2"}), delta=False)
    assert other.world("C", version=version) == ["C+a"]


@pytest.mark.parametrize("delta", [True, False])
def test_streams_that_are_due_the_same_share_one_response(delta: bool) -> None:
    cache = StreamCache()
    make: Callable[[], Stream] = lambda: Stream(cache, delta=delta)  # noqa: E731
    payloads = []
    for stream in (make(), make()):
        stream.update(ONE, 0)
        request = DeltaRequest(CLUSTER) if delta else WorldRequest(CLUSTER)
        payloads += sent(stream.receive(request, 0))
    assert payloads[0] is payloads[1]


V1_AND_V2 = resources({"v1": "1", "v2": "1"}, {"v1": "1", "v2": "1"}, {"l": "r"}, {"r": "v2"})
V1_ALONE = resources({"v1": "1", "v2": "1"}, {"v1": "2", "v2": ""}, {"l": "r"}, {"r": "v1"})
"""Routes left v2 by the same change that took its pods away."""


def test_routes_leave_a_cluster_before_its_last_endpoint_does() -> None:
    d = joined(V1_AND_V2)
    assert d.update(V1_ALONE) == ["E+v1", "R+r"]
    assert d.acks("E") == ["ack E"]
    assert d.acks("R") == ["ack R", "E+v2"]
    assert not d.stream.settled
    assert d.acks("E") == ["ack E"]
    assert d.stream.settled


def test_a_proxy_that_does_not_take_its_routes_learns_that_nobody_is_there_all_the_same() -> None:
    d = joined(V1_AND_V2)
    assert d.update(V1_ALONE) == ["E+v1", "R+r"]
    d.acks("E")
    assert d.waits(PATIENCE) == ["E+v2"]

    d = joined(V1_AND_V2)
    d.update(V1_ALONE)
    d.acks("E")
    assert d.nacks("R", "no match for (?=a)b") == ["nack R r", "E+v2"]


def test_endpoints_that_go_while_routes_stay_go_at_once() -> None:
    d = joined(V1_AND_V2)
    gone = resources({"v1": "1", "v2": "1"}, {"v1": "1", "v2": ""}, {"l": "r"}, {"r": "v2"})
    assert d.update(gone) == ["E+v2"]


def test_what_does_not_exist_is_said_though_endpoints_are_held_back() -> None:
    d = joined(V1_AND_V2)
    more = resources({"v1": "1", "v2": "1", "v3": "1"}, {"v1": "1", "v2": ""}, {"l": "r"}, {"r": "v1"})
    assert d.update(more) == ["C+v3"]
    assert d.asks("E", "v3") == ["E-v3"], "and not v2's, which routes have not left"
