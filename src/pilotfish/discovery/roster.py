"""Who is connected, and where each stands with what it should have.

joined ─▶ behind ─pushed─▶ unsettled ─acknowledged─▶ settled
             │                 └─ after long ─▶ slow: it is waited for no longer
             └─ failed: what it should have can't be computed
"""

from __future__ import annotations

from collections.abc import Collection, Container, Set
from itertools import count

from pilotfish.discovery import patience
from pilotfish.discovery.session import ProxySession
from pilotfish.discovery.voting import Votes
from pilotfish.model import Proxy
from pilotfish.model.proxy import ProxyType


class Roster:
    def __init__(self) -> None:
        self.sessions: dict[str, ProxySession] = {}
        """By their ids, the first that came first."""
        self._at: dict[str, dict[str, ProxySession]] = {}
        """The same, by the addresses that they come from."""
        self.failed: dict[str, Exception] = {}
        """The sessions whose resources can't be computed, and why."""
        self.slow: dict[str, ProxySession] = {}
        """Of those that have not acknowledged all that they should have, the ones that are waited for no longer."""
        self._unsettled: dict[str, ProxySession] = {}
        self._behind: dict[str, None] = {}
        """The sessions whose resources are to be looked at again, in order."""
        self._numbers = count(1)

    def new_id(self, proxy: Proxy) -> str:
        return f"{proxy}-{next(self._numbers)}"

    def add(self, session: ProxySession, *, behind: bool) -> None:
        self.sessions[session.id] = session
        self._at.setdefault(session.caller.host, {})[session.id] = session
        if behind:
            self._behind[session.id] = None

    def remove(self, session: ProxySession) -> bool:
        """False if it was gone already."""
        for held in (self._behind, self._unsettled, self.slow, self.failed):
            held.pop(session.id, None)
        here = self._at.get(session.caller.host, {})
        here.pop(session.id, None)
        if not here:
            self._at.pop(session.caller.host, None)
        return self.sessions.pop(session.id, None) is not None

    def at(self, host: str) -> Collection[ProxySession]:
        """Those that come from this address."""
        return self._at.get(host, {}).values()

    def put_behind(self) -> None:
        """All of them; one that waits for its turn keeps its place."""
        for id in self.sessions:
            self._behind.setdefault(id)

    def take_behind(self) -> ProxySession:
        """The next that is behind, and is so no longer. Only while `is_behind`."""
        id = next(iter(self._behind))
        del self._behind[id]
        return self.sessions[id]

    def note(self, session: ProxySession) -> bool:
        """What its stream says of where it stands. True if that is news."""
        moved = False
        if session.is_settled is not (settled := session.stream.settled):
            session.is_settled = settled
            if settled:
                del self._unsettled[session.id]
                self.slow.pop(session.id, None)
            else:
                self._unsettled[session.id] = session
            moved = True
        if not session.is_complete and session.stream.is_complete:
            session.is_complete = moved = True
        return moved

    def find_slow(self, now: float) -> bool:
        """Stop waiting for those that have not answered for long. True if there are more of them."""
        found = {id: session for id, session in self._unsettled.items() if patience.is_slow(session.stream, now)}
        moved = not found.keys() <= self.slow.keys()
        self.slow |= found
        return moved

    def lost(self, now: float) -> list[ProxySession]:
        """Those that have not answered for so long that they have to go."""
        return [session for session in self._unsettled.values() if patience.is_lost(session.stream, now)]

    @property
    def is_behind(self) -> bool:
        """Some have not been looked at since the last change."""
        return bool(self._behind)

    @property
    def is_settled(self) -> bool:
        """All have acknowledged all that they were sent."""
        return not self._unsettled

    @property
    def is_told(self) -> bool:
        """All that answer have acknowledged, or refused, all that follows from the last change."""
        return not self._behind and self._unsettled.keys() <= self.slow.keys()

    @property
    def unsettled(self) -> tuple[ProxySession, ...]:
        """Those whose proxies have not acknowledged all that they should have, or of whom nobody knows what that is."""
        refusing = {id: session for id, session in self.sessions.items() if session.stream.is_refusing}
        return tuple(self.sessions[id] for id in {**self._unsettled, **refusing, **self.failed})

    @property
    def heard(self) -> tuple[ProxySession, ...]:
        """Those whose word is known or to be waited for. Who is slow, or refuses, never may ask for everything."""
        return tuple(s for s in self.sessions.values() if s.is_complete or s.stream.is_refusing or s.id in self.slow)

    def has_taken_all(self, proxy_id: str) -> bool:
        """The proxy has asked for all that it should have, and has acknowledged it without a refusal."""
        mine = [session for session in self.of(proxy_id) if session.id not in self.failed]
        return any(s.is_complete and s.is_settled and not s.stream.is_refusing for s in mine)

    def have_accepted_all(self, but: Container[str]) -> bool:
        """Every proxy has accepted everything, and one at least has asked for everything: an Envoy that starts asks for
        one type after the other, and what it did not ask for yet it may still refuse. Who is slow is not asked, nor are
        the proxies of `but`."""
        asked = [s for s in self.sessions.values() if s.id not in self.slow and s.proxy.id not in but]
        return any(s.is_complete for s in asked) and not any(s.stream.is_refusing for s in asked)

    def of(self, proxy_id: str) -> list[ProxySession]:
        """By node id, by `name.namespace`, or by session id; the latest comes last."""
        if "~" in proxy_id:  # asked again and again while pods start
            return [session for session in self.sessions.values() if session.proxy.id == proxy_id]
        return [s for s in self.sessions.values() if proxy_id in (str(s.proxy), s.id)]

    def of_machine(self, name: str) -> list[ProxySession]:
        """Those of the proxy that serves a machine's pods."""
        machines = (s for s in self.sessions.values() if s.proxy.type is ProxyType.NODE)
        return [session for session in machines if session.proxy.name == name]

    def find(self, proxy_id: str) -> ProxySession | None:
        """The latest `of` them."""
        found = self.of(proxy_id)
        return found[-1] if found else None

    def votes(self, type_url: str, name: str, version: str, but: Set[str]) -> Votes:
        """What the proxies say of a version of a resource; those of `but` are not asked."""
        accepted: set[str] = set()
        refused: set[str] = set()
        pending: set[str] = set()
        for session in self.sessions.values():
            watch = session.stream.watches.get(type_url)
            if watch is None or not watch.selects(name) or session.proxy.id in but:
                continue
            if watch.refused.get(name) == version:
                refused.add(session.proxy.id)
            elif watch.proven(name) == version:
                accepted.add(session.proxy.id)
            elif self._may_answer(session, type_url, name, version):
                pending.add(session.proxy.id)
        return Votes(frozenset(accepted - refused), frozenset(refused), frozenset(pending - accepted - refused))

    def _may_answer(self, session: ProxySession, type_url: str, name: str, version: str) -> bool:
        if session.id in self.slow:
            return False
        resources = session.stream.resources
        due = resources.get(type_url, name) if resources is not None else None
        return session.id in self._behind or (due is not None and due.version == version)
