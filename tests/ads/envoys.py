"""Resources to serve, and a proxy to serve them to, that behaves as Envoy does where that matters to the server."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pilotfish.ads import Accepted, DeltaRequest, Effect, Refused, Send, Stream, StreamCache
from pilotfish.ads.wire import Payload
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, xds_type
from pilotfish.envoy.values import Layer, Resource, ResourceSet

LETTER = {CLUSTER: "C", ENDPOINT: "E", LISTENER: "L", ROUTE: "R"}
BY_LETTER = {letter: type_url for type_url, letter in LETTER.items()}


def resource(type_url: str, name: str, content: str = "1") -> Resource:
    """Endpoints of the content "" are nobody."""
    return Resource.make(type_url, name, content.encode(), vacant=type_url == ENDPOINT and not content)


def layer(type_url: str, contents: Mapping[str, str]) -> Layer:
    return Layer(type_url, (resource(type_url, n, c) for n, c in contents.items()))


def resources(
    clusters: Mapping[str, str] | None = None,
    endpoints: Mapping[str, str] | None = None,
    listeners: Mapping[str, str] | None = None,
    routes: Mapping[str, str] | None = None,
) -> ResourceSet:
    """Names and contents of each type. A listener's content is its route's name; a route's names its clusters."""
    given = {CLUSTER: clusters, ENDPOINT: endpoints, LISTENER: listeners, ROUTE: routes}
    return ResourceSet(layer(t, contents) for t, contents in given.items() if contents)


def said(effects: Iterable[Effect]) -> list[str]:
    """Effects in one line each: `C+a,b-c` sends clusters a and b and removes c; `ack C`; `nack C a`."""
    return [_say(effect) for effect in effects]


def _say(effect: Effect) -> str:
    match effect:
        case Send(payload):
            added = ",".join(r.name for r in payload.resources)
            removed = ",".join(payload.removed)
            return LETTER[payload.type_url] + (f"+{added}" if added else "") + (f"-{removed}" if removed else "")
        case Accepted(type_url):
            return f"ack {LETTER[type_url]}"
        case Refused(type_url, _, bad):
            return f"nack {LETTER[type_url]} {','.join(r.name for r in bad) or '?'}"


def sent(effects: Iterable[Effect]) -> list[Payload]:
    return [effect.payload for effect in effects if isinstance(effect, Send)]


@dataclass
class Envoy:
    """A delta client: what it has is by type and name. Contents that contain `bad` are refused."""

    stream: Stream
    has: dict[str, dict[str, Resource]] = field(default_factory=lambda: {t: {} for t in LETTER})
    asked: dict[str, set[str]] = field(default_factory=lambda: {ENDPOINT: set(), ROUTE: set()})
    inbox: list[Payload] = field(default_factory=list)
    unacknowledged: list[DeltaRequest] = field(default_factory=list)
    """ACKs of clusters, held back until these are warm."""
    heard: list[Effect] = field(default_factory=list)
    may_repeat: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often what the proxy has may be sent: it asked again, or refused what came with it."""
    cold: set[str] = field(default_factory=set)
    """Clusters, new or changed, that wait for their endpoints, or to be told that there are none."""

    @classmethod
    def connect(cls, cache: StreamCache, resources: ResourceSet) -> Envoy:
        stream = Stream(cache, delta=True)
        stream.update(resources, 0.0)
        return cls(stream)

    def reconnect(self, cache: StreamCache, resources: ResourceSet, now: float) -> None:
        self.stream = Stream(cache, delta=True)
        self.stream.update(resources, now)
        self.inbox, self.unacknowledged, self.may_repeat = [], [], Counter()
        # A cluster that was being made anew when the stream broke: no server can know that it lacks the endpoints which
        # the proxy says that it has. Envoy takes those from its own cache.
        self.cold -= self.has[ENDPOINT].keys()
        self.join(now)

    def join(self, now: float) -> None:
        """The first requests of a stream, one type after the other."""
        for type_url in LETTER:
            versions = {n: r.version for n, r in self.has[type_url].items()}
            names = tuple(sorted(self.asked.get(type_url, ())))
            if xds_type(type_url).wildcard or names:
                self.say(DeltaRequest(type_url, subscribe=names, initial=versions), now)

    def say(self, request: DeltaRequest, now: float) -> None:
        self.hear(self.stream.receive(request, now))

    def hear(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            self.heard.append(effect)
            if isinstance(effect, Send):
                payload = effect.payload
                open_types = [p.type_url for p in self.inbox] + [r.type_url for r in self.unacknowledged]
                if payload.type_url in open_types:
                    # The server lost patience: it can't know yet what this proxy accepted.
                    self.may_repeat.update((payload.type_url, r.name) for r in payload.resources)
                self.inbox.append(payload)

    def process(self, now: float) -> None:
        """Take the oldest response."""
        payload = self.inbox.pop(0)
        bad = [r for r in payload.resources if b"bad" in r.body]
        whole = bool(xds_type(payload.type_url).refusal)
        applied = payload.resources if not bad else tuple(r for r in payload.resources if r not in bad) if whole else ()
        old = dict(self.has[payload.type_url])
        if payload.type_url == CLUSTER:
            # Whether it accepts the cluster or not: the server can't know yet, and sends the endpoints after it.
            self.may_repeat.update((ENDPOINT, r.name) for r in payload.resources)
        self._apply(payload, applied, removals=whole or not bad)
        self._follow_up(payload.type_url, old, now)
        if payload.type_url == ENDPOINT:
            # "We need to allow server startup to continue, even if we have a bad config" (eds.cc).
            self.cold -= {r.name for r in bad}
        error = _complaint(payload.type_url, [r.name for r in bad]) if bad else None
        if error is not None and not whole:
            self.may_repeat.update((payload.type_url, r.name) for r in payload.resources)
        self.unacknowledged.append(DeltaRequest(payload.type_url, payload.nonce, error))
        self._acknowledge(now)

    def _apply(self, payload: Payload, applied: Iterable[Resource], removals: bool) -> None:
        has = self.has[payload.type_url]
        for r in applied:
            key = (payload.type_url, r.name)
            have = has.get(r.name)
            if have is not None and have.version == r.version:
                assert self.may_repeat[key] > 0, f"{key} was sent twice"
                self.may_repeat[key] -= 1
            has[r.name] = r
            if payload.type_url == ENDPOINT:
                self.cold.discard(r.name)
        for name in payload.removed if removals else ():
            assert payload.type_url != CLUSTER or not self.routes_that_name(name), f"a route names {name}"
            has.pop(name, None)
            if payload.type_url == ENDPOINT:
                self.cold.discard(name)

    def routes_that_name(self, cluster: str) -> list[str]:
        return [n for n in self.asked[ROUTE] if (r := self.has[ROUTE].get(n)) and cluster in r.body.decode().split()]

    def _follow_up(self, type_url: str, old: Mapping[str, Resource], now: float) -> None:
        """Ask for what the new clusters and listeners need."""
        if type_url == CLUSTER:
            has = self.has[CLUSTER]
            remade = {n for n, r in has.items() if n in old and old[n] != r}
            self.cold = (self.cold | remade | (has.keys() - old.keys())) & has.keys()
            self._want(ENDPOINT, set(has), now)
        elif type_url == LISTENER:
            self._want(ROUTE, {r.body.decode() for r in self.has[LISTENER].values()}, now)

    def _want(self, type_url: str, names: set[str], now: float) -> None:
        new, gone = names - self.asked[type_url], self.asked[type_url] - names
        self.asked[type_url] = names
        for name in gone:
            self.has[type_url].pop(name, None)
        if new or gone:
            self.may_repeat.update((type_url, name) for name in new)
            self.say(DeltaRequest(type_url, subscribe=tuple(sorted(new)), unsubscribe=tuple(sorted(gone))), now)

    def _acknowledge(self, now: float) -> None:
        """Clusters are acknowledged when all are warm, that is when their endpoints came."""
        ready = [r for r in self.unacknowledged if r.type_url != CLUSTER or not self.cold]
        self.unacknowledged = [r for r in self.unacknowledged if r not in ready]
        for request in ready:
            self.say(request, now)


def _complaint(type_url: str, names: list[str]) -> str:
    """As Envoy words it: only listeners and clusters are named."""
    if type_url == CLUSTER:
        return "Error adding/updating cluster(s) " + ", ".join(f"{n}: it is bad" for n in names)
    if type_url == LISTENER:
        return "\n".join(["Error adding/updating listener(s) " + f"{names[0]}: bad", *(f"{n}: bad" for n in names[1:])])
    return "no match for (?=a)b"
