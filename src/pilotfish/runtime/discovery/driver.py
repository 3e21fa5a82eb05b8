"""Drives a control plane: tells it what happens and what time it is, performs what it asks for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from pilotfish.ads import Accepted, Node, Refused, Request, Send
from pilotfish.ads.wire import Payload
from pilotfish.config.desired import DesiredState
from pilotfish.discovery.admission import Caller, Door, Reason, Refusal
from pilotfish.discovery.effects import Disconnect, Effect, Failed, Remember, Settled
from pilotfish.discovery.memory import Remembered
from pilotfish.discovery.plane import ControlPlane
from pilotfish.discovery.session import ProxySession
from pilotfish.envoy.types import short
from pilotfish.model import Proxy
from pilotfish.model.authentication import Keys, KeySource
from pilotfish.runtime.discovery.connection import ProxyConnection, Writing
from pilotfish.runtime.discovery.metrics import Metrics
from pilotfish.runtime.discovery.notice import Notice
from pilotfish.runtime.memory import give_back

_log = logging.getLogger(__name__)
_TURN = 0.005
"""Seconds of computing after which requests are read again in the middle of a push."""
_COLLECT_AFTER = 5.0
"""Seconds after which what only a proxy that left needed is forgotten: most come back at once."""
_GIVE_BACK_AFTER = 1.0
"""Seconds from when somebody was turned away, who may have sent much, to when what is free is given back."""

_SAID = 60.0
_MOST_SAID = 100
"""What is said in the log of those who are not served, in that many seconds at the most."""


class Driver:
    def __init__(
        self, plane: ControlPlane, metrics: Metrics, remember: Callable[[tuple[Remembered, ...]], None]
    ) -> None:
        """`remember` keeps for the next start what it is given, in the place of what it was given before."""
        self.plane = plane
        self.metrics = metrics
        self.moved = Notice()
        """Wakes whoever waits for a change, an acknowledgement, or a proxy that comes or goes."""
        self._remember = remember
        self._connections: dict[str, ProxyConnection] = {}
        """By session id."""
        self._ends: dict[str, Callable[[Refusal], None]] = {}
        self._said: dict[tuple[Reason, str], float] = {}
        """When it was last said in the log that somebody is not served."""
        self._looking: asyncio.TimerHandle | None = None
        self._writing = Writing(self._on_sent)
        self._loop = asyncio.get_running_loop()
        self._behind = asyncio.Event()
        self._collecting: asyncio.TimerHandle | None = None
        self._giving_back: asyncio.TimerHandle | None = None

    def change(self, desired: DesiredState, since: float) -> None:
        """The user's objects are these now. `since`: the loop's time at which the change came."""
        self._perform(self.plane.change(desired, since))
        self.moved.notify()

    def learn(self, remembered: tuple[Remembered, ...]) -> None:
        """What other replicas know of refused objects."""
        self._perform(self.plane.learn(remembered, self._loop.time()))
        self.moved.notify()

    def supply(self, fetched: Mapping[KeySource, Keys | None]) -> None:
        """Keys of issuers, as they are fetched."""
        self._perform(self.plane.supply(fetched, self._loop.time()))
        self.moved.notify()

    async def run(self) -> None:
        """Push whenever something changed."""
        while True:
            await self._behind.wait()
            self._behind.clear()
            await self._push()
            self.moved.notify()

    async def _push(self) -> None:
        turn = self._loop.time() + _TURN
        while self.plane.roster.is_behind:
            session, effects = self.plane.push(self._loop.time())
            self._perform(effects, session)
            if self._loop.time() > turn:
                await asyncio.sleep(0)
                turn = self._loop.time() + _TURN

    async def drain(self, seconds: float) -> None:
        """Until what is being written is written."""
        await self.moved.wait_for(lambda: not any(c.is_writing for c in self._connections.values()), seconds)

    # Proxies

    def join(
        self,
        node: Node,
        proxy: Proxy,
        write: Callable[[bytes], Awaitable[None]],
        end: Callable[[Refusal], None],
        *,
        delta: bool,
        caller: Caller,
    ) -> ProxySession:
        """`write` sends the proxy one message; `end` ends its stream, with what it is told."""
        session = self.plane.join(node, proxy, delta=delta, caller=caller, at=time.time(), now=self._loop.time())
        self._connections[session.id] = ProxyConnection(
            session.id, self._writing, write, partial(self._unsent, session, end)
        )
        self._ends[session.id] = end
        self.metrics.connected.inc()
        _log.info("%s connected from %s", session.id, caller.peer)
        self._perform(self.plane.enrol(session, self._loop.time()))
        self.moved.notify()
        return session

    def report_health(self, proxy_id: str, host: str, healthy: bool) -> bool:
        """False if nobody who is registered so is connected from there."""
        effects = self.plane.report_health(proxy_id, host, healthy, self._loop.time())
        self._perform(effects or ())
        self.moved.notify()
        return effects is not None

    def receive(self, session: ProxySession, request: Request) -> None:
        before = session.is_settled, session.is_complete
        self._perform(self.plane.receive(session, request, self._loop.time()), session)
        if (session.is_settled, session.is_complete) != before:
            self.moved.notify()

    def leave(self, session: ProxySession) -> None:
        self._connections.pop(session.id).end()
        del self._ends[session.id]
        self.metrics.connected.dec()
        _log.info("%s disconnected", session.id)
        self._perform(self.plane.leave(session, self._loop.time()))
        if self._collecting is None:
            self._collecting = self._loop.call_later(_COLLECT_AFTER, self._collect)
        self.moved.notify()

    def _tick(self, session: ProxySession) -> None:
        self._perform(self.plane.tick(session, self._loop.time()), session)

    def _look(self) -> None:
        self._looking = None
        self._perform(self.plane.look(self._loop.time()))
        self.moved.notify()

    # Who is served

    @property
    def door(self) -> Door:
        return self.plane.door

    def admit(self, proxy: Proxy, caller: Caller) -> Refusal | None:
        return self.plane.admit(proxy, caller, self._loop.time())

    def turned_away(self, refusal: Refusal, host: str) -> None:
        """Counted each time, said once a minute for each reason and address."""
        self.metrics.turned_away(refusal.reason)
        if self._giving_back is None:
            self._giving_back = self._loop.call_later(_GIVE_BACK_AFTER, self._give_back)
        now, key = self._loop.time(), (refusal.reason, host)
        if now - self._said.get(key, -_SAID) < _SAID:
            return
        self._said = {known: at for known, at in self._said.items() if now - at < _SAID}
        if len(self._said) < _MOST_SAID:
            self._said[key] = now
            _log.warning("%s is not served: %s", host, refusal.message)

    def _unsent(self, session: ProxySession, end: Callable[[Refusal], None], is_unread: bool) -> None:
        """What was written to it did not go out."""
        if is_unread:
            end(self.plane.lose(session, "did not read what it was sent", self._loop.time()))
        else:
            end(Refusal(Reason.GONE, f"{session.proxy} can't be written to"))

    def _disconnect(self, disconnect: Disconnect) -> None:
        end = self._ends.get(disconnect.session.id)
        if end is not None:
            end(disconnect.refusal)

    def _collect(self) -> None:
        self._collecting = None
        self.plane.collect()
        give_back()

    def _give_back(self) -> None:
        self._giving_back = None
        give_back()

    # Effects

    def _perform(self, effects: tuple[Effect, ...], session: ProxySession | None = None) -> None:
        """`session`: the one whose event led to them."""
        for effect in effects:
            if isinstance(effect, Settled):
                self._on_settled(effect)
            elif isinstance(effect, Remember):
                self._remember(effect.remembered)
            elif isinstance(effect, Disconnect):
                self._disconnect(effect)
            elif isinstance(effect, Failed):
                self._on_failed(session, effect.error)
            elif session is not None:
                self._perform_for(session, effect)
        if self._looking is None and self.plane.look_at is not None:
            self._looking = self._loop.call_at(self.plane.look_at, self._look)
        if session is not None:
            self._connections[session.id].wake(session.stream.wake_at, partial(self._tick, session))
        if self.plane.roster.is_behind:
            self._behind.set()

    def _perform_for(self, session: ProxySession, effect: Send | Accepted | Refused) -> None:
        match effect:
            case Send(payload):
                self._connections[session.id].send(payload)
            case Accepted(type_url, _, took):
                self.metrics.acknowledged(type_url, took)
            case Refused(type_url, message, resources):
                self.metrics.refused(type_url)
                names = ", ".join(r.name for r in resources) or "a resource that it does not name"
                _log.warning("%s refused %s %.500s: %.2000r", session.id, short(type_url), names, message)

    def _on_failed(self, session: ProxySession | None, error: Exception) -> None:
        self.metrics.internal_errors.inc()
        if session is None:
            _log.error("a change could not be taken in; the proxies keep what they have", exc_info=error)
        else:
            why = "its configuration could not be computed; it keeps the one that it has"
            _log.error("%s: %s", session.id, why, exc_info=error)

    def _on_settled(self, settled: Settled) -> None:
        if settled.took is not None:
            self.metrics.convergence.observe(settled.took)
        self.moved.notify()

    def _on_sent(self, payload: Payload, size: int) -> None:
        self.metrics.pushed(payload.type_url, size)
        self._loop.call_soon(self.moved.notify)
