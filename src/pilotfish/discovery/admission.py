"""Who is let in: the bounds on streams, whose word a node id is, and who may have which certificate.

    peer's address ─enter─▶ a place, or Refusal
    (Proxy, Caller, Pod) ─admit─▶ None, or Refusal
    (Claims, peer's address, Pod) ─entitle─▶ None, or Refusal

What a node id says can be checked by what its caller proves, over TLS, and where discovery knows all pods and their
addresses: on one machine the node tells it of each. In a cluster an address counts as far as it is a pod's: who comes
from another may have been translated on its way, or be the node's (docs/design/cluster-identity.md). By itself, and in
plaintext, discovery serves proxies that it can't know, and takes their word (docs/design/door.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Final

from pilotfish.config.kubernetes import Pod
from pilotfish.config.manifest import Manifest
from pilotfish.discovery.pace import Pace
from pilotfish.identity.tokens import Claims
from pilotfish.model import Proxy
from pilotfish.model.identity import DEFAULT_TRUST_DOMAIN, Identity
from pilotfish.model.proxy import NodeId, ProxyType
from pilotfish.model.wellknown import MACHINE_ACCOUNT

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
    IDENTITY = "identity"
    """Over TLS, without a certificate or token, or with that of another."""
    UNPROVEN = "unproven"
    """Whoever could check its token is away."""
    CERTIFICATE = "certificate"
    """A certificate is asked for without a token, or one of another."""
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
class Caller:
    """Who is at the other end of a connection, as far as that is proven."""

    peer: str
    """The address and port that it comes from, as gRPC writes them: `ipv4:10.244.0.2:41000`."""
    secure: bool = False
    """It came over TLS, and so has to prove who it is."""
    identity: Identity | None = None
    """What it has proven."""
    pod: str = ""
    """The pod that its token is bound to."""

    @property
    def host(self) -> str:
        """The address alone."""
        return peer_host(self.peer)


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

    def __init__(self, *, only_pods: bool = False, in_cluster: bool = False, machine: str = "") -> None:
        """`only_pods`: nobody but the pods among the objects is served, each from its own address. `in_cluster`: all
        pods are among the objects, and none is served from another's address. `machine`: the address of the machine
        that the pods are on, whose one proxy is served from there; "": of none."""
        self.only_pods = only_pods
        self.in_cluster = in_cluster
        self.machine = machine
        self.is_of_a_pod: Callable[[str], bool] = lambda host: False
        """Whether an address is that of one pod alone. Given by who knows the objects."""
        self.trust_domains: Collection[str] = (DEFAULT_TRUST_DOMAIN,)
        """Whose identities are taken for the mesh's own."""
        self._inside: Counter[str] = Counter()
        self._cut_off: dict[tuple[str, str], CutOff] = {}
        self._paces: dict[str, Pace] = {}

    def enter(self, host: str) -> Refusal | None:
        """Somebody opens a stream. Where that is not refused, `leave` is to be called at its end."""
        most = MOST_OF_A_POD if self.is_one(host) else MOST_OF_A_PEER
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
        if not self.is_one(host):
            return Pace()
        if host not in self._paces and len(self._paces) >= MOST_STREAMS:
            self._paces = {known: pace for known, pace in self._paces.items() if known in self._inside}
        return self._paces.setdefault(host, Pace())

    def is_one(self, host: str) -> bool:
        """Whether all who come from this address are one pod."""
        return self.only_pods or (self.in_cluster and self.is_of_a_pod(host))

    def admit(self, proxy: Proxy, caller: Caller, pod: Manifest | None, now: float) -> Refusal | None:
        """Whether this proxy is served. `pod`: the object that is called as it calls itself."""
        cut = self._cut_off.get((proxy.id, caller.host))
        if cut is not None and now < cut.until:
            left = cut.until - now
            return Refusal(Reason.KEPT_OFF, f"{proxy} {cut.why}, and so is not served for {left:.0f} s more")
        if caller.identity is not None and caller.identity.trust_domain not in self.trust_domains:
            return Refusal(Reason.IDENTITY, f"{caller.identity} is of another trust domain")
        return self.refuse(proxy, caller, pod)

    def refuse(self, proxy: Proxy, caller: Caller, pod: Manifest | None) -> Refusal | None:
        """Why it is not, or no longer, served as who it says it is. That the trust domain has changed since it came
        ends nothing: what it shows the next time is of the new one."""
        if self._is_machines(proxy):
            return self._check_machine(proxy, caller)
        unproven = self._check_identity(proxy, caller, pod) if caller.secure else None
        if unproven is not None:
            return unproven
        if self.only_pods:
            return self._check_address(proxy, caller.host, pod)
        return self._check_not_anothers(str(proxy), caller.host, pod)

    def is_known(self, proxy: Proxy, caller: Caller, pod: Manifest | None) -> bool:
        """Whether it is who it says it is, and nobody's word was taken for it."""
        if self._is_machines(proxy):
            return self._check_machine(proxy, caller) is None
        if self.only_pods or not caller.secure:
            return self.refuse(proxy, caller, pod) is None and self._check_address(proxy, caller.host, pod) is None
        return self._check_identity(proxy, caller, pod) is None

    def entitle(self, claims: Claims, host: str, pod: Manifest | None) -> Refusal | None:
        """Why who shows this token, from there, gets no certificate. `pod`: the object that the token is bound to."""
        if claims.is_operator:
            return None
        who = f"a token of {claims.account} in {claims.namespace}"
        if claims.addresses and host not in map(plain_address, claims.addresses):
            return Refusal(Reason.ADDRESS, f"{who} is good from its pod's addresses only, which {host} is not")
        if claims.machine and self.machine:
            return None if host == self.machine else _not_on_machine(who, host)
        if pod is None or not isinstance(pod.resource, Pod):
            if self.only_pods or (self.in_cluster and claims.pod):
                return Refusal(Reason.UNKNOWN, f"{who} is bound to no pod that is known here")
            return self._check_not_anothers(who, host, pod)
        resource = pod.resource
        if _account(pod) != claims.account or (claims.uid and resource.metadata.uid not in ("", claims.uid)):
            return Refusal(Reason.IDENTITY, f"{who} is not that of pod {claims.pod}, which runs as {_account(pod)}")
        if self.only_pods and host not in addresses_of(pod):
            return Refusal(Reason.ADDRESS, f"{host} is no address of pod {claims.pod}.{claims.namespace}")
        return self._check_not_anothers(who, host, pod)

    def _check_not_anothers(self, who: str, host: str, pod: Manifest | None) -> Refusal | None:
        """In a cluster. Where its own pod is not known yet, that which had the address before may not be gone yet."""
        if not self.in_cluster or not self.is_of_a_pod(host) or host in addresses_of(pod):
            return None
        reason = Reason.UNKNOWN if pod is None else Reason.ADDRESS
        return Refusal(reason, f"{who} is not taken from {host}, which is the address of another pod")

    def _check_identity(self, proxy: Proxy, caller: Caller, pod: Manifest | None) -> Refusal | None:
        found, node_id = caller.identity, NodeId.parse(proxy.id)
        if found is None:
            said = f"{proxy} shows neither a certificate of this mesh nor a token; it must show one of its own"
            return Refusal(Reason.IDENTITY, said)
        namespaces = {proxy.namespace, node_id.namespace if node_id is not None else ""}
        if namespaces != {found.namespace} or caller.pod not in ("", proxy.name):
            return Refusal(Reason.IDENTITY, f"{found} is not served as {proxy}")
        if pod is not None and _account(pod) != found.account:
            return Refusal(Reason.IDENTITY, f"{found} is not served as {proxy}, which runs as {_account(pod)}")
        return None

    def _is_machines(self, proxy: Proxy) -> bool:
        """It says that it is a machine's proxy, where nobody's word is taken for it."""
        return proxy.type is ProxyType.NODE and (self.only_pods or self.in_cluster)

    def _check_machine(self, proxy: Proxy, caller: Caller) -> Refusal | None:
        """It is sent what is for all pods of the machine. No pod has the machine's address, whatever its account."""
        if not self.machine or caller.host != self.machine:
            return _not_on_machine(f"{proxy}, as a machine's proxy,", caller.host)
        found, node_id = caller.identity, NodeId.parse(proxy.id)
        of_it = {proxy.namespace, node_id.namespace if node_id is not None else ""}
        if found is None or {found.namespace} != of_it or found.account != MACHINE_ACCOUNT:
            return Refusal(Reason.IDENTITY, f"{found or 'who shows nothing'} is not served as {proxy}")
        return None

    def _check_address(self, proxy: Proxy, host: str, pod: Manifest | None) -> Refusal | None:
        addresses = addresses_of(pod)
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


def _not_on_machine(who: str, host: str) -> Refusal:
    return Refusal(Reason.ADDRESS, f"{who} is served on its machine alone, whose address {host} is not")


def peer_host(peer: str) -> str:
    """`10.244.0.2` of gRPC's `ipv4:10.244.0.2:41000`; `ipv6:%5Bfd70::2%5D:41000` likewise."""
    _, _, rest = peer.partition(":")
    host = rest.rpartition(":")[0].replace("%5B", "").replace("%5D", "").strip("[]")
    return plain_address(host)


def addresses_of(pod: Manifest | None) -> frozenset[str]:
    """None of what is no pod."""
    if pod is None or not isinstance(pod.resource, Pod):
        return frozenset()
    status = pod.resource.status
    return frozenset(plain_address(ip) for ip in (status.pod_ip, *(each.ip for each in status.pod_ips)) if ip)


def _account(pod: Manifest) -> str:
    """The service account that a pod runs as."""
    return (pod.resource.spec.service_account_name if isinstance(pod.resource, Pod) else "") or "default"


def plain_address(address: str) -> str:
    """One text for each address."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(getattr(found, "ipv4_mapped", None) or found)
