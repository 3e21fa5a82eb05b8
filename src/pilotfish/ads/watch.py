"""One type's subscription in one stream: what is asked for, what the proxy holds, what is under way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from pilotfish.ads.bounds import Kept
from pilotfish.ads.diff import Differ, find
from pilotfish.ads.holding import UNSURE, Have, Holding, Plan, plan, version_of
from pilotfish.ads.refusal import named_in
from pilotfish.ads.wire import Payload, Payloads
from pilotfish.envoy.types import xds_type
from pilotfish.model.private import reveal

if TYPE_CHECKING:
    from pilotfish.envoy.values import Layer, Resource

PATIENCE = 1.0
"""Seconds for which a response that was not acknowledged holds up others. Envoy withholds the ACK of clusters that it
is warming; one whose name can't be resolved must not keep every later change away."""


class StreamCache:
    """What all streams of one server share, so that what many are due is made, compared and kept once."""

    __slots__ = ("_names", "differ", "payloads")

    def __init__(self) -> None:
        self.payloads = Payloads()
        self.differ = Differ()
        self._names: WeakValueDictionary[int, frozenset[str]] = WeakValueDictionary()

    def names(self, names: frozenset[str]) -> frozenset[str]:
        """The same set for the same names."""
        same = self._names.setdefault(hash(names), names)
        return same if same == names else names


def _is_vacant(have: Have) -> bool:
    """A version alone says nothing; it may be of anything."""
    return have is None or isinstance(have, str) or have.vacant


def _own(names: Iterable[str], layers: tuple[Layer, ...]) -> dict[str, None]:
    """The names in their order, as the resources' own strings instead of copies of them."""
    return {known.name if (known := find(layers, name)) else name: None for name in names}


@dataclass(slots=True)
class Sent:
    """A response that was handed out and neither accepted nor refused yet."""

    resources: tuple[Resource, ...]
    removed: tuple[str, ...]
    before: Holding
    at: float
    adds: bool
    """It holds a resource that the proxy had no version of."""
    kept: Kept
    """Names that are kept with it, beside those of resources."""


@dataclass(frozen=True, slots=True)
class Outstanding:
    """The oldest response of a type that was not answered."""

    type_url: str
    since: float
    size: int
    """Bytes of its resources."""
    answered_before: bool
    """The proxy has taken an earlier one of the type."""


class Watch:
    """Not more than a state: `Stream` decides when to ask it for its next response."""

    __slots__ = (
        "_cache",
        "_delta",
        "_flight",
        "_isolated",
        "accepted_nonce",
        "asked",
        "error",
        "holding",
        "last_nonce",
        "names",
        "owes_answer",
        "refused",
        "type",
        "wildcard",
    )

    def __init__(self, type_url: str, delta: bool, cache: StreamCache) -> None:
        self.type = xds_type(type_url)
        self.wildcard = False
        self.names: frozenset[str] = frozenset()
        self.asked = Kept()
        """The names, in figures."""
        self.holding = Holding()
        self.refused: dict[str, str] = {}
        """The versions that the proxy refused and that it should have still, by name."""
        self.error = ""
        """Envoy's words of the last refusal, while it stands."""
        self.owes_answer = False
        """A response is due even if there is nothing to say."""
        self.last_nonce = ""
        self.accepted_nonce = ""
        self._delta = delta
        self._cache = cache
        self._flight: dict[str, Sent] = {}
        self._isolated: frozenset[str] = frozenset()
        """Resources of a refused response, one of which is bad: they are sent one at a time."""

    @property
    def type_url(self) -> str:
        return self.type.url

    # What is asked for

    def selects(self, name: str) -> bool:
        return self.wildcard or name in self.names

    def subscribe(self, names: Iterable[str], layers: tuple[Layer, ...]) -> None:
        """Every name is answered, even one that was answered before: Envoy asks again for what it must see again."""
        new = _own(names, layers)
        if new.pop("*", 0) is None:
            self._subscribe_all()
        if new:
            self._ask_for(self.names.union(new))
            self.holding = self.holding.but(new)
            self.refused = {n: v for n, v in self.refused.items() if n not in new}

    def _ask_for(self, names: frozenset[str]) -> None:
        self.names = self._cache.names(names)
        self.asked = Kept.of(names)

    def _subscribe_all(self) -> None:
        if not self.wildcard:
            self.wildcard = True
            self.holding = Holding((), {n: self.holding.have(n) for n in self.names})

    def unsubscribe(self, names: Iterable[str]) -> None:
        gone = tuple(names)
        if "*" in gone:
            self.wildcard = False
            self._forget({n for n in self.holding.apart if n not in self.names})
        dropped = tuple(n for n in gone if n in self.names)
        if not dropped:
            return
        self._ask_for(self.names.difference(dropped))
        if self.wildcard:
            # Only the server knows whether the wildcard covers the name, so that it has to say.
            self.holding = self.holding.but({n: self._unsure(self.holding, n) for n in dropped})
        else:
            self._forget(dropped)

    @staticmethod
    def _unsure(holding: Holding, name: str) -> str | None:
        return None if holding.have(name) is None else UNSURE

    def _forget(self, names: Iterable[str]) -> None:
        gone = set(names)
        self.holding = self.holding.without(gone)
        self.refused = {n: v for n, v in self.refused.items() if n not in gone}

    def resume(self, versions: Mapping[str, str]) -> None:
        """Take over what the proxy holds from an earlier stream."""
        have = {n: v for n, v in versions.items() if self.selects(n)}
        self.holding = Holding((), {**self.holding.apart, **have})

    def resume_all(self, layers: tuple[Layer, ...]) -> None:
        """The proxy holds exactly what it should."""
        self.holding = Holding(layers)

    def must_resend(self, names: Iterable[str]) -> None:
        """The proxy needs to be told these again, though it was."""
        again = [n for n in names if n in self.names]
        self.holding = self.holding.but(dict.fromkeys(again))
        self.refused = {n: v for n, v in self.refused.items() if n not in again}

    # What is to be sent

    def retarget(self, layers: tuple[Layer, ...]) -> None:
        """A refusal stands only as long as the very version that was refused is due."""
        if self.refused:
            wanted = ((n, v, find(layers, n)) for n, v in self.refused.items())
            self.refused = {n: v for n, v, want in wanted if want is not None and want.version == v}
            if not self.refused:
                self.error = ""

    def plan(self, layers: tuple[Layer, ...]) -> Plan:
        due = plan(self.holding, layers, self.names, self.wildcard, self.refused, self._cache.differ)
        if due.is_done and (layers is not self.holding.layers or len(due.refused) != len(self.holding.apart)):
            self.holding = Holding(layers, due.refused)
        return due

    def vacates(self, due: Plan) -> frozenset[str]:
        """Where somebody is now, as far as the proxy knows, and nobody will be."""
        emptied = (r.name for r in due.changed if r.vacant)
        return frozenset(name for name in emptied if not _is_vacant(self.holding.have(name)))

    def is_waiting(self, now: float) -> bool:
        """A response is under way, so that the next one should wait and be merged."""
        return any(now < sent.at + PATIENCE for sent in self._flight.values())

    def adds_are_waiting(self, now: float) -> bool:
        """Resources that the proxy did not have are under way."""
        return any(sent.adds and now < sent.at + PATIENCE for sent in self._flight.values())

    def patience_ends(self, now: float) -> float | None:
        ends = [sent.at + PATIENCE for sent in self._flight.values() if sent.at + PATIENCE > now]
        return min(ends, default=None)

    def proven(self, name: str) -> str | None:
        """The version that the proxy has and did not refuse; None if that is not known, or not yet."""
        sent = (r.name for flight in self._flight.values() for r in flight.resources)
        return None if name in sent else version_of(self.holding.have(name))

    @property
    def kept(self) -> Kept:
        """What it asks for, what it still has to be told, and what it was told and has not answered."""
        return Kept.sum((self.asked, Kept.of(self.holding.apart), *(sent.kept for sent in self._flight.values())))

    @property
    def under_way(self) -> bool:
        return bool(self._flight)

    def outstanding(self) -> Outstanding | None:
        sent = next(iter(self._flight.values()), None)
        if sent is None:
            return None
        return Outstanding(self.type_url, sent.at, sum(len(r.body) for r in sent.resources), bool(self.accepted_nonce))

    def send(self, due: Plan, withheld: frozenset[str], may_remove: bool, now: float) -> Payload:
        """The response that leads as far as possible towards the plan's layers, without the changes `withheld`."""
        offered = tuple(r for r in due.changed if r.name not in withheld)
        changed = self._next_changes(offered)
        whole = len(changed) == len(offered)
        may_remove = may_remove and whole
        removed = (due.absent if whole else ()) + (due.removed if may_remove else ())
        before = self.holding
        self.holding = due.after(before, [r.name for r in changed], removed)
        payload = self._payload(due.layers, changed, removed)
        adds = any(before.have(r.name) is None for r in changed)
        self._flight[payload.nonce] = Sent(changed, removed, before, now, adds, Kept.of(before.apart))
        self.last_nonce = payload.nonce
        self.owes_answer = False
        return payload

    def _next_changes(self, offered: tuple[Resource, ...]) -> tuple[Resource, ...]:
        if self._isolated and not self._sends_all:
            alone = next((r for r in offered if r.name in self._isolated), None)
            if alone is not None:
                self._isolated -= {alone.name}
                return (alone,)
            self._isolated = frozenset()
        return offered

    @property
    def _sends_all(self) -> bool:
        return not self._delta and self.type.wildcard

    def _payload(self, layers: tuple[Layer, ...], changed: tuple[Resource, ...], removed: tuple[str, ...]) -> Payload:
        make = self._cache.payloads.make
        if self._delta:
            return make(True, self.type_url, changed, removed, not_nonce=self.last_nonce)
        resources = tuple(self._in_force(layers)) if self._sends_all else changed
        version = self.version(layers) + ("~" if self.holding.apart else "")
        return make(False, self.type_url, resources, version=version, not_nonce=self.last_nonce)

    def _in_force(self, layers: tuple[Layer, ...]) -> Iterable[Resource]:
        """All that the proxy should hold just now: the last good form of what it refused, and what may not go yet."""
        apart = self.holding.apart
        for layer in layers:
            yield from (r for name, r in layer.items() if name not in apart and self.selects(name))
        for have in apart.values():
            if have is not None and not isinstance(have, str):
                yield have

    def version(self, layers: tuple[Layer, ...]) -> str:
        """What a state of the world response calls all that is subscribed."""
        digest = blake2b(b"*" if self.wildcard else b"", digest_size=8)
        for text in (*(reveal(layer.version) for layer in layers), *sorted(self.names)):
            digest.update(f"{text}\0".encode())
        return digest.hexdigest()

    # What comes back

    def accept(self, nonce: str) -> Sent | None:
        """Take an ACK; None if the nonce is of no response that is under way."""
        sent = self._flight.get(nonce)
        if sent is not None:
            self._landed(nonce)
            self.accepted_nonce = nonce
        return sent

    def refuse(self, nonce: str, message: str) -> tuple[Resource, ...] | None:
        """Take a NACK: what was refused, if that is known. None if the nonce is of no response under way."""
        sent = self._flight.get(nonce)
        if sent is None:
            return None
        self._landed(nonce)
        self.error = message
        names = set(named_in(self.type, message, [r.name for r in sent.resources]))
        if not names and self._sends_all:
            names = {r.name for r in sent.resources}
        bad = tuple(r for r in sent.resources if r.name in names)
        # A name that was sent again since is judged by the answer to that, and one that was asked for anew is due.
        again = {r.name for later in self._flight.values() for r in later.resources}
        offered = [r for r in sent.resources if r.name not in again and self.holding.have(r.name) is not None]
        self.refused.update((r.name, r.version) for r in offered if r.name in names)
        self.holding = self.holding.but({r.name: sent.before.have(r.name) for r in offered if r.name in names})
        rest = {r.name: self._unsure(sent.before, r.name) for r in offered if r.name not in names}
        if not bad:
            self._isolated |= rest.keys()
        if sent.resources and not (bad and self.type.refusal):
            # Envoy is sure to have applied the rest only if it says what it refused.
            untold = {n: sent.before.have(n) for n in sent.removed if n not in again}
            self.holding = self.holding.but(rest | untold)
        return bad

    def _landed(self, nonce: str) -> None:
        """The proxy answers in order: what was sent before is done, too."""
        for earlier in tuple(self._flight):
            del self._flight[earlier]
            if earlier == nonce:
                return
