"""Who is let in: the bounds on streams, and whose word a node id is.

    peer's address ─enter─▶ a place, or Refusal
    (Proxy, peer's address, Pod) ─admit─▶ None, or Refusal

What a node id says can be checked where discovery knows all pods and their addresses: on one machine the node tells it
of each. By itself discovery serves proxies that it can't know, and takes their word (docs/design/door.md).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Final

from pilotfish.config.kubernetes import Pod
from pilotfish.config.manifest import Manifest
from pilotfish.discovery.pace import Pace
from pilotfish.model import Proxy

MOST_STREAMS: Final = 4096
"""At one time, of all."""
MOST_OF_A_PEER: Final = 2048
"""Of one address, where proxies are not known: many may come through one."""
MOST_OF_A_POD: Final = 8
"""An Envoy has one, and that of the Envoy before it may not have ended yet."""
KEPT_OFF: Final = 60.0
"""Seconds for which who was cut off is not served."""


class Reason(StrEnum):
    """Why somebody is not served: the label `reason` of the metric that counts it."""

    MALFORMED = "malformed"
    """No request of a sidecar's."""
    TOO_LARGE = "too-large"
    """A request, or all that a stream asks for."""
    TOO_MANY = "too-many"
    """Streams."""
    SILENT = "silent"
    """Nothing was asked for."""
    UNKNOWN = "unknown"
    """A node id of no pod."""
    ADDRESS = "address"
    """A pod's node id, from elsewhere."""
    GONE = "gone"
    """Its connection broke while it was written to."""
    KEPT_OFF = "kept-off"
    """It is cut off, or was a moment ago."""


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: Reason
    message: str
    """For the log of who is refused."""


@dataclass(frozen=True, slots=True)
class CutOff:
    """Who took nothing, and is kept off for a while."""

    proxy: str
    """Node id."""
    host: str
    """Where it came from."""
    until: float
    why: str


class Door:
    """Not for several threads."""

    def __init__(self, *, only_pods: bool = False) -> None:
        """`only_pods`: nobody but the pods among the objects is served, each from its own address."""
        self.only_pods = only_pods
        self._inside: Counter[str] = Counter()
        self._cut_off: dict[tuple[str, str], CutOff] = {}
        self._paces: dict[str, Pace] = {}

    def enter(self, host: str) -> Refusal | None:
        """Somebody opens a stream. Where that is not refused, `leave` is to be called at its end."""
        most = MOST_OF_A_POD if self.only_pods else MOST_OF_A_PEER
        if self._inside.total() >= MOST_STREAMS:
            return Refusal(Reason.TOO_MANY, f"discovery serves {MOST_STREAMS} streams already, which is the most")
        if self._inside[host] >= most:
            return Refusal(Reason.TOO_MANY, f"{host} has {most} streams already, which is the most for one address")
        self._inside[host] += 1
        return None

    def leave(self, host: str) -> None:
        self._inside[host] -= 1
        if self._inside[host] <= 0:
            del self._inside[host]

    def pace(self, host: str) -> Pace:
        """For a stream of this address. Where each address is a pod's, all of its streams have one, before and after
        it reconnects."""
        if not self.only_pods:
            return Pace()
        if host not in self._paces and len(self._paces) >= MOST_STREAMS:
            self._paces = {known: pace for known, pace in self._paces.items() if known in self._inside}
        return self._paces.setdefault(host, Pace())

    def admit(self, proxy: Proxy, host: str, pod: Manifest | None, now: float) -> Refusal | None:
        """Whether this proxy is served. `pod`: the object that is called as it calls itself."""
        cut = self._cut_off.get((proxy.id, host))
        if cut is not None and now < cut.until:
            left = cut.until - now
            return Refusal(Reason.KEPT_OFF, f"{proxy} {cut.why}, and so is not served for {left:.0f} s more")
        return self.identify(proxy, host, pod) if self.only_pods else None

    def identify(self, proxy: Proxy, host: str, pod: Manifest | None) -> Refusal | None:
        """Whether it is the pod that it says it is."""
        addresses = _addresses(pod)
        if not addresses:
            return Refusal(Reason.UNKNOWN, f"no pod {proxy} is known here; only this mesh's pods are served")
        if host not in addresses:
            return Refusal(Reason.ADDRESS, f"{proxy} is served from its own address only, which {host} is not")
        others = [address for address in proxy.addresses if plain_address(address) not in addresses]
        if others:
            return Refusal(Reason.ADDRESS, f"{others[0]} is no address of {proxy}'s; its addresses are in its status")
        return None

    def cut_off(self, proxy: Proxy, host: str, why: str, now: float) -> None:
        """It is not served again for a while."""
        self._cut_off[proxy.id, host] = CutOff(proxy.id, host, now + KEPT_OFF, why)

    def let_back(self, now: float) -> None:
        """Those whose time is over."""
        self._cut_off = {key: cut for key, cut in self._cut_off.items() if now < cut.until}

    @property
    def cut(self) -> tuple[CutOff, ...]:
        """Who is kept off."""
        return tuple(self._cut_off.values())


def peer_host(peer: str) -> str:
    """`10.244.0.2` of gRPC's `ipv4:10.244.0.2:41000`; `ipv6:%5Bfd70::2%5D:41000` likewise."""
    _, _, rest = peer.partition(":")
    host = rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
    return plain_address(host)


def _addresses(pod: Manifest | None) -> frozenset[str]:
    if pod is None or not isinstance(pod.resource, Pod):
        return frozenset()
    status = pod.resource.status
    return frozenset(plain_address(ip) for ip in (status.pod_ip, *(each.ip for each in status.pod_ips)) if ip)


def plain_address(address: str) -> str:
    """One text for each address."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(getattr(found, "ipv4_mapped", None) or found)
