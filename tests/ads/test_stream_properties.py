"""Whatever happens, in whatever order: a proxy ends with what it should have, and is never without what it uses."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pilotfish.ads import StreamCache
from pilotfish.ads.watch import PATIENCE
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, xds_type
from pilotfish.envoy.values import ResourceSet
from tests.ads.envoys import Envoy, resources

CONTENTS = st.sampled_from(["1", "2", "bad"])
NAMES = ("a", "b", "c", "d")


@st.composite
def meshes(draw: st.DrawFn) -> ResourceSet:
    """Routes name clusters that exist, listeners name routes that exist. Anything may be refused."""
    clusters = draw(st.dictionaries(st.sampled_from(NAMES), CONTENTS))
    endpoints = {n: draw(st.one_of(CONTENTS, st.just(""))) for n in clusters if draw(st.integers(0, 9)) < 8}
    routes = {}
    for name in draw(st.sets(st.sampled_from(("r", "s")))):
        named = draw(st.lists(st.sampled_from(sorted(clusters)), unique=True)) if clusters else []
        routes[name] = " ".join([*named, *(["bad"] if draw(st.integers(0, 4)) == 0 else [])])
    listeners = {f"l{n}": n for n in routes if draw(st.booleans())}
    return resources(clusters, endpoints, listeners, routes)


class OneProxy(RuleBasedStateMachine):
    """Updates, answers, reconnects and passing time in any order."""

    @initialize(first=meshes())
    def connect(self, first: ResourceSet) -> None:
        self.now = 0.0
        self.cache = StreamCache()
        self.target = first
        self.envoy = Envoy.connect(self.cache, first)
        self.envoy.join(self.now)

    @rule(mesh=meshes())
    def update(self, mesh: ResourceSet) -> None:
        self.target = mesh
        self.envoy.hear(self.envoy.stream.update(mesh, self.now))

    @precondition(lambda self: self.envoy.inbox)
    @rule()
    def process(self) -> None:
        self.envoy.process(self.now)

    @rule(first_more=st.booleans())
    def reconnect(self, first_more: bool) -> None:
        if first_more and self.envoy.inbox:
            self.envoy.process(self.now)
        self.envoy.reconnect(self.cache, self.target, self.now)

    @rule(seconds=st.sampled_from([0.01, PATIENCE]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        wake_at = self.envoy.stream.wake_at
        if wake_at is not None and wake_at <= self.now:
            self.envoy.hear(self.envoy.stream.tick(self.now))

    @rule()
    def settle(self) -> None:
        """Nothing more happens: the proxy answers all, and time passes."""
        self._run_dry()
        envoy, stream = self.envoy, self.envoy.stream
        assert not envoy.unacknowledged, "every cluster that was accepted got its endpoints, or was told of none"
        assert stream.settled, {w.type_url: (w.holding, w.refused) for w in stream.watches.values()}
        for type_url, watch in stream.watches.items():
            bad = {r.name for r in self.target.resources(type_url) if b"bad" in r.body}
            assert watch.refused.keys() <= bad, "no refusal outlives what was refused"
        held_back = any(w.refused for t in (LISTENER, ROUTE) if (w := stream.watches.get(t)))
        for type_url, has in envoy.has.items():
            if xds_type(type_url).wildcard or type_url in stream.watches:
                self._check(type_url, {n: r.body for n, r in has.items()}, held_back)

    def _run_dry(self) -> None:
        for _ in range(300):
            if self.envoy.inbox:
                self.envoy.process(self.now)
            elif self.envoy.stream.wake_at is not None:
                self.wait(PATIENCE)
            else:
                return
        raise AssertionError("it never ends")

    def _check(self, type_url: str, has: dict[str, bytes], held_back: bool) -> None:
        wanted = {r.name: r.body for r in self.target.resources(type_url)}
        asked = wanted.keys() if xds_type(type_url).wildcard else self.envoy.asked[type_url] & wanted.keys()
        for name in asked:
            if b"bad" not in wanted[name]:
                assert has.get(name) == wanted[name], f"{type_url} {name}"
            else:
                assert b"bad" not in has.get(name, b""), "a refused resource was applied"
        if type_url == LISTENER or (type_url == CLUSTER and not held_back):
            assert has.keys() <= wanted.keys(), "what is gone was taken away"

    @invariant()
    def endpoints_are_kept_as_long_as_their_cluster_is(self) -> None:
        if hasattr(self, "envoy"):
            assert self.envoy.asked[ENDPOINT] == set(self.envoy.has[CLUSTER])


TestOneProxy = OneProxy.TestCase
TestOneProxy.settings = settings(max_examples=60, stateful_step_count=25, report_multiple_bugs=False)
