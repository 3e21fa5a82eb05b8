"""The proxies that ask to be registered as workloads, and how long each counts (`registration` says as what)."""

from __future__ import annotations

from collections.abc import ValuesView

from pilotfish.discovery.registration import GRACE, Member
from pilotfish.discovery.session import ProxySession
from pilotfish.model.proxy import ProxyType


class Members:
    def __init__(self) -> None:
        self._by_id: dict[str, Member] = {}
        """By node id."""

    def enrol(self, session: ProxySession) -> bool:
        """A proxy has come. False if it asks for nothing."""
        proxy = session.proxy
        if not proxy.group or proxy.type is not ProxyType.SIDECAR:
            return False
        known = self._by_id.get(proxy.id)
        account = session.caller.identity.account if session.caller.identity is not None else ""
        self._by_id[proxy.id] = Member(proxy, account, known.healthy if known is not None else False)
        return True

    def get(self, proxy_id: str) -> Member | None:
        return self._by_id.get(proxy_id)

    def values(self) -> ValuesView[Member]:
        return self._by_id.values()

    def left(self, proxy_id: str, now: float) -> None:
        """Its last stream has ended."""
        if (member := self._by_id.get(proxy_id)) is not None:
            member.left_at = now

    def forget(self, now: float) -> bool:
        """Those that have been away for too long. True if there were any."""
        gone = [id for id, each in self._by_id.items() if each.left_at is not None and now >= each.left_at + GRACE]
        for id in gone:
            del self._by_id[id]
        return bool(gone)

    @property
    def are_leaving(self) -> bool:
        """Some are away."""
        return any(member.left_at is not None for member in self._by_id.values())
