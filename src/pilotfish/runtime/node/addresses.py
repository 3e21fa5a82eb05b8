"""Services' addresses and names, for whoever asks no sidecar: the kernel's rules, and the DNS at 10.96.0.10."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pilotfish.model import ObjectRef, Problem
from pilotfish.model.frontend import Frontends
from pilotfish.model.names import NameTable
from pilotfish.node.document import PodRecord
from pilotfish.node.facts import ServiceFacts, find_problems
from pilotfish.node.store import Store
from pilotfish.runtime.agent.dns import NameServer
from pilotfish.runtime.agent.host import AgentHost
from pilotfish.runtime.net.network import MeshNetwork
from pilotfish.runtime.net.services import ServiceNet
from pilotfish.runtime.node.faults import Faults
from pilotfish.runtime.turns import in_turns

_DNS_PORT = 53
_UNSERVED = "the kernel and the DNS do not follow it"


class Addresses:
    def __init__(self, network: MeshNetwork, agents: AgentHost, on_change: Callable[[], None], faults: Faults) -> None:
        """`on_change` is called when `problems` or `settled` may be others."""
        self._node = network.node
        self._subnets = network.subnets
        self._own = (network.subnets.v4, network.subnets.services)
        self._facts = ServiceFacts(self._own)
        self._net = ServiceNet(network, self._frontends, on_change)
        self._dns = NameServer(self._facts.names, agents.forwarder, agents.own_names)
        self._faults = faults
        self._failed: set[ObjectRef] = set()
        self._problems: tuple[Problem, ...] = ()

    async def start(self) -> None:
        """Names are answered from now on."""
        await self._dns.start(self._node, _DNS_PORT, hosts=(self._subnets.dns,))

    async def close(self) -> None:
        await self._dns.close()
        await self._net.close()

    @property
    def problems(self) -> tuple[Problem, ...]:
        if not self._net.failure:
            return self._problems
        message = f"Services are reached through sidecars alone: {self._net.failure}"
        return (*self._problems, Problem(None, "", "ServiceAddressesFailed", message))

    @property
    def frontends(self) -> Frontends:
        """What the kernel serves."""
        return self._net.held

    def names(self) -> NameTable:
        """What the node's DNS answers from."""
        return self._facts.names()

    @property
    def settled(self) -> bool:
        """The kernel has what was last announced, or can't have it (`problems`)."""
        return self._net.settled

    def announce(self, store: Store, cluster_ips: Mapping[ObjectRef, str], pods: Iterable[PodRecord]) -> None:
        if self._facts.update(store, cluster_ips, pods):
            self._problems = find_problems(store, self._own)
            self._net.refresh()

    async def wait(self) -> None:
        """Until the kernel has what was last announced, or can't have it."""
        await self._net.wait()

    async def _frontends(self) -> Frontends:
        worked = await in_turns(self._facts.work())
        for ref in self._failed - worked.failed.keys():
            self._faults.clear(_UNSERVED, ref)
        for ref, error in worked.failed.items():
            self._faults.note(_UNSERVED, error, ref)
        self._failed = set(worked.failed)
        return worked.frontends
