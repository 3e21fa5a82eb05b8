"""One ADS stream: requests and resource sets in, effects out. No sockets, no clock.

    Stream.receive(request, now) ─┐
    Stream.update(resources, now) ─┼─▶ (Accepted | Refused | Send, ...)
    Stream.tick(now)              ─┘

Both forms of the protocol are the same machine: they differ in how a request is read and in how a response is written.

An update's additions and changes go out clusters, endpoints, listeners, routes. New listeners and routes wait until
the proxy has acknowledged (so: warmed) the clusters that are new; what is no longer needed is taken away only once
all listeners and routes are acknowledged. One response of a type is under way at a time, later updates merge.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from pilotfish.ads.bounds import Kept, check_kept, check_request, check_subscription
from pilotfish.ads.effects import Accepted, Effect, Refused, Send
from pilotfish.ads.holding import Plan
from pilotfish.ads.request import DeltaRequest, Request, WorldRequest
from pilotfish.ads.watch import PATIENCE, Outstanding, StreamCache, Watch
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, TYPES, rank
from pilotfish.model.sync import Sync

if TYPE_CHECKING:
    from pilotfish.envoy.values import Layer, ResourceSet

_FIRST: Final = frozenset(row.url for row in TYPES if row.wildcard)
"""What every Envoy asks for."""


class Stream:
    """The protocol's state for one proxy's connection."""

    __slots__ = ("_cache", "_delta", "_rejoins_until", "_remade", "_resources", "wake_at", "watches")

    def __init__(self, cache: StreamCache, *, delta: bool) -> None:
        self.watches: dict[str, Watch] = {}
        """By type URL, in the order in which updates go out."""
        self.wake_at: float | None = None
        """When `tick` should be called, if nothing else happens before."""
        self._cache = cache
        self._delta = delta
        self._resources: ResourceSet | None = None
        self._remade: set[str] = set()
        """Clusters that changed before their endpoints were asked for on this stream."""
        self._rejoins_until = 0.0
        """A proxy came with clusters of an earlier stream, and asks for one type after the other until about then."""

    @property
    def resources(self) -> ResourceSet | None:
        """What the proxy should have."""
        return self._resources

    def update(self, resources: ResourceSet, now: float) -> tuple[Effect, ...]:
        """The proxy should have these resources from now on."""
        self._resources = resources
        for type_url, watch in self.watches.items():
            watch.retarget(resources.layers(type_url))
        return self._advance(now)

    def tick(self, now: float) -> tuple[Effect, ...]:
        """Time has passed."""
        return self._advance(now)

    def receive(self, request: Request, now: float) -> tuple[Effect, ...]:
        """Take one request of the proxy's. Raises ExcessiveRequestError, after which the stream is to end."""
        check_request(request)
        watch = self.watches.get(request.type_url)
        first = watch is None
        if watch is None:
            watch = self._add(request.type_url)
        names = watch.names
        told = self._take_answer(watch, request, now)
        if isinstance(request, DeltaRequest):
            self._subscribe(watch, request, first, now)
        elif first or request.nonce in ("", watch.last_nonce):
            self._subscribe_world(watch, request, first)
        if first or watch.names is not names:
            check_subscription(len(self.watches), Kept.sum(each.asked for each in self.watches.values()))
        effects = told + self._advance(now)
        if request.asks:
            check_kept(self.kept, "a stream")
        return effects

    def sync(self, type_url: str) -> Sync:
        watch = self.watches.get(type_url)
        if watch is None:
            return Sync.NOT_SENT
        if watch.refused:
            return Sync.REFUSED
        return Sync.SYNCED if self._settled(watch) else Sync.STALE

    @property
    def settled(self) -> bool:
        """The proxy has, and has acknowledged, all that it asked for and can take."""
        return self._resources is not None and all(self._settled(w) for w in self.watches.values())

    @property
    def is_complete(self) -> bool:
        """The proxy has asked for every type that it is to ask for."""
        resources = self._resources
        return resources is not None and (resources.referenced | _FIRST) <= self.watches.keys()

    @property
    def is_refusing(self) -> bool:
        """The proxy has refused something that it should have."""
        return any(watch.refused for watch in self.watches.values())

    def outstanding(self) -> Iterator[Outstanding]:
        """What the proxy has not answered, the oldest of each type."""
        return (each for watch in self.watches.values() if (each := watch.outstanding()) is not None)

    @property
    def kept(self) -> Kept:
        """What is kept of the names that the proxy has said."""
        return Kept.sum(watch.kept for watch in self.watches.values())

    # Requests

    def _add(self, type_url: str) -> Watch:
        self.watches[type_url] = watch = Watch(type_url, self._delta, self._cache)
        self.watches = dict(sorted(self.watches.items(), key=lambda item: rank(item[0])))
        return watch

    def _take_answer(self, watch: Watch, request: Request, now: float) -> tuple[Effect, ...]:
        if not request.nonce:
            return ()
        if request.error is not None:
            bad = watch.refuse(request.nonce, request.error)
            watch.retarget(self._layers(watch))  # what was refused may have been withdrawn since it was sent
            return () if bad is None else (Refused(watch.type_url, request.error, bad),)
        sent = watch.accept(request.nonce)
        return () if sent is None else (Accepted(watch.type_url, sent.resources, now - sent.at),)

    def _subscribe(self, watch: Watch, request: DeltaRequest, first: bool, now: float) -> None:
        layers = self._layers(watch)
        names = request.subscribe
        if first and not names and watch.type.wildcard:
            names = ("*",)
        watch.subscribe(names, layers)
        watch.unsubscribe(request.unsubscribe)
        if first and request.initial and not self._is_warming(watch):
            watch.resume(request.initial)
            if watch.type_url == CLUSTER:
                self._rejoins_until = now + PATIENCE
        elif first and watch.wildcard:
            watch.owes_answer = True
        if first and watch.type_url == ENDPOINT:
            watch.must_resend(self._remade)

    def _subscribe_world(self, watch: Watch, request: WorldRequest, first: bool) -> None:
        layers = self._layers(watch)
        names = request.names
        if not names and watch.type.wildcard and (first or (watch.wildcard and not watch.names)):
            names = ("*",)
        held = watch.names | ({"*"} if watch.wildcard else set())
        watch.subscribe([n for n in names if n not in held], layers)
        watch.unsubscribe(held.difference(names))
        if first and request.version and request.version == watch.version(layers) and not self._is_warming(watch):
            watch.resume_all(layers)
        elif first:
            watch.owes_answer = bool(names)
        if first and watch.type_url == ENDPOINT:
            watch.must_resend(self._remade)

    def _is_warming(self, watch: Watch) -> bool:
        """Whether the proxy, whose first request this is, warms clusters that came on an earlier stream, which broke
        before their endpoints came: it then asks for no clusters until it has seen endpoints, of whatever version, and
        for everything else. Otherwise it asks for clusters first. Seen with Envoy 1.40; its own time limit, by which it
        would take the endpoints that it knows, is off for ADS."""
        return watch.type_url == ENDPOINT and CLUSTER not in self.watches

    # Responses

    def _layers(self, watch: Watch) -> tuple[Layer, ...]:
        return () if self._resources is None else self._resources.layers(watch.type_url)

    def _advance(self, now: float) -> tuple[Effect, ...]:
        """Send all that may be sent now, in order."""
        self.wake_at = None
        if self._resources is None:
            return ()
        effects: list[Effect] = []
        unsent: set[str] = set()
        for watch in self.watches.values():
            due = watch.plan(self._layers(watch))
            may_remove = bool(due.removed) and self._may_remove(watch, now)
            withheld = self._withheld(watch, due, now)
            if withheld:
                unsent.add(watch.type_url)
            if not (len(due.changed) > len(withheld) or due.absent or may_remove or watch.owes_answer):
                continue
            if watch.is_waiting(now) or self._must_wait(watch, due, unsent, now):
                unsent.add(watch.type_url)
                continue
            effects.append(self._send(watch, due, withheld, may_remove, now))
        if unsent:
            ends = [end for w in self.watches.values() if (end := w.patience_ends(now)) is not None]
            self.wake_at = min(ends, default=None)
        if self._is_rejoining(now) and (self.wake_at is None or self.wake_at > self._rejoins_until):
            self.wake_at = self._rejoins_until
        return tuple(effects)

    def _send(self, watch: Watch, due: Plan, withheld: frozenset[str], may_remove: bool, now: float) -> Send:
        had = watch.holding
        payload = watch.send(due, withheld, may_remove, now)
        if watch.type_url == CLUSTER and not had.is_empty:
            self._resend_endpoints([r.name for r in due.changed if had.have(r.name) is not None])
        return Send(payload)

    def _resend_endpoints(self, clusters: list[str]) -> None:
        """Envoy makes a changed cluster anew and warms it until its endpoints come, but does not ask for them again.

        Seen with Envoy 1.40, delta; https://github.com/envoyproxy/envoy/issues/13009.
        """
        endpoints = self.watches.get(ENDPOINT)
        if endpoints is None:
            self._remade.update(clusters)
        else:
            endpoints.must_resend(clusters)

    def _withheld(self, watch: Watch, due: Plan, now: float) -> frozenset[str]:
        """Endpoints that leave nobody behind a cluster: not before the routes have left it, which may lead elsewhere by
        the same change. A proxy that does not acknowledge its routes is not waited for without bound."""
        vacated = watch.vacates(due) if watch.type_url == ENDPOINT else frozenset()
        return vacated if vacated and any(self._is_moving(t, now) for t in (LISTENER, ROUTE)) else frozenset()

    def _is_moving(self, type_url: str, now: float) -> bool:
        """Changes of this type have to be sent, or to be acknowledged."""
        watch = self.watches.get(type_url)
        return watch is not None and (watch.is_waiting(now) or bool(watch.plan(self._layers(watch)).changed))

    def _must_wait(self, watch: Watch, due: Plan, unsent: set[str], now: float) -> bool:
        if not due.changed:
            return False
        before = watch.type.waits_for
        clusters = self.watches.get(CLUSTER)
        return any(t in unsent for t in before) or (
            CLUSTER in before and clusters is not None and clusters.adds_are_waiting(now)
        )

    def _may_remove(self, watch: Watch, now: float) -> bool:
        """Whether nothing that the proxy holds can still name what this type has too many."""
        if watch.type_url == CLUSTER and self._is_rejoining(now):
            return False
        return all(self._settled(other) and not other.refused for other in self._removed_after(watch))

    def _removed_after(self, watch: Watch) -> list[Watch]:
        return [self.watches[t] for t in watch.type.removed_after if t in self.watches]

    def _is_rejoining(self, now: float) -> bool:
        """Whether listeners and routes of an earlier stream, which name clusters, may not have been told yet."""
        if now >= self._rejoins_until:
            return False
        routes = self._resources is not None and any(self._resources.layers(ROUTE))
        return LISTENER not in self.watches or (routes and ROUTE not in self.watches)

    def _settled(self, watch: Watch) -> bool:
        """All was sent and acknowledged, but for what must stay because the proxy refused to do without it."""
        if watch.under_way or watch.owes_answer:
            return False
        due = watch.plan(self._layers(watch))
        return due.is_done or not (
            due.changed or due.absent or not any(other.refused for other in self._removed_after(watch))
        )
