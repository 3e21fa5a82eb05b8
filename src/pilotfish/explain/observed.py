"""What became of a request that was really sent, as an Outcome: out of its answer, and what proxies wrote of it.

what the client saw, access logs ─Logs.outcome─▶ Outcome, as the walk would tell it
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pilotfish.explain.accesslog import AccessLogEntry
from pilotfish.explain.trace import End, Outcome

_MOST_HOPS: Final = 8


@dataclass(frozen=True, slots=True)
class Sent:
    """As the client saw it."""

    end: End
    """DELIVERED for any answer, whoever gave it."""
    status: int | None
    pod: str
    """`NAME.NAMESPACE` of the app that answered; "" where none did."""
    source: str
    """`IP:PORT` of its connection; "" where there was none."""
    target: str


class Logs:
    """Access logs of a mesh's proxies."""

    def __init__(self, entries: Mapping[str, Iterable[AccessLogEntry]], pods: Mapping[str, str]) -> None:
        """`entries` by pod (`NAME.NAMESPACE`), `pods` by address."""
        self._pods = pods
        self._by_source = {(pod, e.downstream_remote_address): e for pod, own in entries.items() for e in own}
        self._by_id = {(pod, e.request_id): e for pod, own in entries.items() for e in own if e.request_id}
        self._by_ends = {(pod, *e.ends): e for pod, own in entries.items() for e in own}

    def outcome(self, client: str, sent: Sent, probability: float = 1.0) -> Outcome:
        """`client`: its pod; "" where it is in none."""
        told = self._follow(client, sent)
        chosen = next((entry for _, entry in reversed(told) if not entry.is_inbound), None)
        pod, flags = sent.pod, ""
        if told and not sent.pod:
            # The first that failed by itself is the one whose answer all before it pass on.
            pod, flags = next(
                ((pod, ",".join(e.response_flags)) for pod, e in reversed(told) if e.response_flags),
                (told[-1][0], ""),
            )
        kind = End.RESPONSE if sent.end is End.DELIVERED and not sent.pod and sent.status is not None else sent.end
        return Outcome(
            probability,
            kind,
            0,
            sent.status if kind is End.RESPONSE else None,
            flags if kind is not End.DELIVERED else "",
            chosen.upstream_cluster if chosen is not None else "",
            chosen.upstream_host if chosen is not None else "",
            pod,
        )

    def _follow(self, client: str, sent: Sent) -> list[tuple[str, AccessLogEntry]]:
        """(pod, what its proxy wrote), from the client's on."""
        pod, entry = client, self._by_ends.get((client, sent.source, sent.target))
        if entry is None:
            pod = self._pods.get(_address(sent.target), "")
            pod, entry = self._next(pod, "", sent.source)
        found: list[tuple[str, AccessLogEntry]] = []
        while entry is not None and len(found) < _MOST_HOPS and (pod, entry) not in found:
            found.append((pod, entry))
            onward = self._pods.get(_address(entry.upstream_host), "")
            pod, entry = self._next(onward, entry.request_id, entry.upstream_local_address)
        return found

    def _next(self, pod: str, id: str, source: str) -> tuple[str, AccessLogEntry | None]:
        """Of a request by its id, over whichever connection it came."""
        if pod:
            return pod, self._by_id.get((pod, id)) or self._by_source.get((pod, source))
        # A Service's address: whoever was called over the connection. Its client may have called others from that port.
        taken = ((at, entry) for (at, other), entry in self._by_source.items() if other == source and entry.is_inbound)
        return next(taken, ("", None))


def _address(place: str) -> str:
    return place.rpartition(":")[0].strip("[]")
