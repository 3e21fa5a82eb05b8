"""The network of one mesh: a bridge in a namespace of its own, a namespace for each pod, one link to the host.

    host ──pf-MESH ═ host0──▶ pf0 (namespace pf-MESH) ◀──vethA-B ═ eth0── namespace pf-MESH.NAMESPACE.POD

From pod to pod, IPv4 is routed by the node, which translates Services' addresses (`services`); IPv6 is bridged.
A user namespace of the mesh owns that of the node, and those of pods that share a proxy (`linux.userns`).
Nothing touches the host's own rules or routes except the link's connected route, and deleting the namespaces takes all
of it away (`names` says how things are called, `leftovers` how they go).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from pilotfish.node.services import CLUSTER_IPS
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.command import ip, run
from pilotfish.runtime.linux.connections import end_connections
from pilotfish.runtime.linux.loopback import ipv6_enabled
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.userns import NoUserNs, UserNs
from pilotfish.runtime.net.leftovers import sweep
from pilotfish.runtime.net.names import check_mesh_name, host_interface, link_name, node_name, pod_name
from pilotfish.runtime.net.one_at_a_time import one_at_a_time
from pilotfish.runtime.net.subnets import Subnets, choose, find_overlap, hardware_address, parse_used
from pilotfish.runtime.thread import in_thread

_log = logging.getLogger(__name__)

BRIDGE = "pf0"
_OWN_TABLE = 96
"""Routes for what the node itself sends."""
_NODE_SETTINGS = {
    # The node routes between pods (so that it sees both ways of a connection to a Service, see `services`), and refuses
    # at once what nobody has: it routes nowhere else.
    "ipv4/ip_forward": "1",
    # In and out by one link, which the pods are not to be told a shorter way around.
    "ipv4/conf/all/send_redirects": "0",
    "ipv4/conf/default/send_redirects": "0",
    # Where the host's kernel has br_netfilter, frames that are bridged would be asked about, too (ip-sysctl.rst).
    "bridge/bridge-nf-call-iptables": "0",
    "bridge/bridge-nf-call-ip6tables": "0",
    "bridge/bridge-nf-call-arptables": "0",
    # As kube-proxy has them: a packet out of its window is still of its connection, and is to be translated as all of
    # it; a connection that nobody closed is forgotten after a day, not after five (nf_conntrack-sysctl.rst).
    "netfilter/nf_conntrack_tcp_be_liberal": "1",
    "netfilter/nf_conntrack_tcp_timeout_established": "86400",
    "netfilter/nf_conntrack_tcp_timeout_close_wait": "3600",
    "ipv6/conf/all/forwarding": "1",
    "ipv6/conf/all/accept_dad": "0",
    "ipv6/conf/default/accept_dad": "0",
}
_POD_SETTINGS = {
    # An app that runs as a user may listen on port 80, as containers of current runtimes may.
    "ipv4/ip_unprivileged_port_start": "0",
    "ipv4/ping_group_range": "0 2147483647",
    # No duplicate address detection: an address is usable at once (kernel, ip-sysctl.rst).
    "ipv6/conf/all/accept_dad": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/default/accept_ra": "0",
}


@dataclass(frozen=True, slots=True)
class MeshNetwork:
    """One mesh's network while it lives. `add_pod` and `remove_pod` may run side by side for different pods."""

    mesh: str
    subnets: Subnets
    node: NetNs
    """Where discovery runs; it holds the bridge."""

    @classmethod
    async def create(cls, mesh: str, wanted: Subnets | None = None, services: IPv4Network = CLUSTER_IPS) -> MeshNetwork:
        """The node's namespace and the host's link. None wanted: the first subnets that are free.

        MachineError if it exists already (then `sweep` first), if the subnets are taken, for a bad name, and without
        root.
        """
        check_mesh_name(mesh)
        async with one_at_a_time():
            subnets = _choose(await _routed(), wanted, services)
            network = cls(mesh, subnets, await _create_node(node_name(mesh)))
            try:
                await network._build()
            except BaseException:
                network.node.delete()
                raise
        return network

    @property
    def host_interface(self) -> str:
        """The host's end of the link; at most 15 characters (IFNAMSIZ)."""
        return host_interface(self.mesh)

    @property
    def userns(self) -> UserNs | None:
        """What owns the node's namespace, and those of pods that are `owned`: whoever may enter namespaces there may
        enter these, and come back. None where the kernel makes no user namespaces."""
        return self.node.owner()

    async def add_pod(self, namespace: str, pod: str, addresses: tuple[str, ...], owned: bool = False) -> NetNs:
        """A pod's namespace with `eth0` at `addresses` (IPv4 first, no prefix length), joined to the bridge.

        `owned`: `userns` owns it. MachineError if there is none.
        """
        name, owner = pod_name(self.mesh, namespace, pod), self.userns if owned else None
        if owned and owner is None:
            what = f"network namespace {name} can't be owned by a user namespace: mesh {self.mesh} has none"
            raise MachineError(what, "allow user namespaces (sysctl user.max_user_namespaces), and start the mesh anew")
        netns = await _made(lambda: NetNs.create(name, owner))
        try:
            netns.sysctl(_POD_SETTINGS)
            await ip(self._link_commands(netns, addresses), self.node)
            await ip(self._pod_commands(addresses), netns)
        except BaseException:
            netns.delete()
            raise
        return netns

    async def remove_pod(self, namespace: str, pod: str) -> None:
        """Deletes the pod's namespace, its link with it, and what a process outside has open there. Its own processes
        are the caller's to end before."""
        netns = NetNs.named(pod_name(self.mesh, namespace, pod))
        if netns.exists():
            try:
                end_connections(netns)
            except OSError as error:
                _log.warning("connections of %s.%s stay until who holds them ends them: %s", pod, namespace, error)
            # The kernel ends a namespace some time after its last process; the link, and so the address, goes now.
            await ip(("link delete dev eth0",), netns, force=True)
        netns.delete()

    async def delete(self) -> tuple[str, ...]:
        """Everything of the mesh, its processes too; says what was removed."""
        return await sweep(self.mesh)

    async def _build(self) -> None:
        self.node.sysctl(_NODE_SETTINGS)
        await ip(self._node_commands(), self.node)
        # On the host the subnet's route appears only now, when the rest works.
        await ip(self._host_commands())
        await ip((f"link set host0 master {BRIDGE} up",), self.node)

    def _node_commands(self) -> tuple[str, ...]:
        address4, address6 = (self.subnets.interface(str(address)) for address in self.subnets.node)
        mac = hardware_address(self.subnets.node[0])
        return (
            # No spanning tree: a port forwards at once. No snooping: neighbour solicitations are never held back.
            f"link add {BRIDGE} address {mac} type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
            f"address add {address4} dev {BRIDGE}",
            *_if_ipv6(f"address add {address6} dev {BRIDGE} nodad"),
            f"link set {BRIDGE} up",
            *(f"address add {address} dev lo" for address in (self.subnets.dns, self.subnets.machine)),
            "route add unreachable default",
            # What the node itself sends to a Service is routed before it is translated, and again after. What pods send
            # is translated first, so for them an address that no Service has stays without a route.
            f"rule add iif lo to {self.subnets.services} lookup {_OWN_TABLE}",
            f"route add {self.subnets.services} dev {BRIDGE} src {self.subnets.node[0]} table {_OWN_TABLE}",
            *_if_ipv6("route add unreachable ::/0"),
        )

    def _host_commands(self) -> tuple[str, ...]:
        address4, address6 = (self.subnets.interface(str(address)) for address in self.subnets.host)
        name = self.host_interface
        return (
            f"link add {name} type veth peer name host0 netns {self.node.name}",
            f"address add {address4} dev {name}",
            *_if_ipv6(f"address add {address6} dev {name} nodad"),
            f"link set {name} up",
        )

    def _link_commands(self, netns: NetNs, addresses: tuple[str, ...]) -> tuple[str, ...]:
        link, mac = link_name(addresses[0]), hardware_address(IPv4Address(addresses[0]))
        return (
            f"link add {link} type veth peer name eth0 address {mac} netns {netns.name}",
            f"link set {link} master {BRIDGE} up",
        )

    def _pod_commands(self, addresses: tuple[str, ...]) -> tuple[str, ...]:
        """In IPv4 other pods are behind the node, not beside: it translates Services' addresses, and has to see the
        answers, too. The host is beside."""
        how = {4: "noprefixroute", 6: "nodad"}
        families = {6 if ":" in address else 4 for address in addresses}
        return (
            *(f"address add {self.subnets.interface(a)} dev eth0 {how[6 if ':' in a else 4]}" for a in addresses),
            "link set eth0 up",
            *(f"route add {beside[0]} dev eth0" for beside in (self.subnets.node, self.subnets.host)),
            *(f"route add default via {gateway}" for gateway in self.subnets.node if gateway.version in families),
        )


async def _create_node(name: str) -> NetNs:
    """With an owner of its own, where the kernel lets one be made."""
    try:
        return await _made(lambda: NetNs.create_with_owner(name))
    except NoUserNs as error:
        _log.warning("%s", error)
        return NetNs.create(name)


async def _made(make: Callable[[], NetNs]) -> NetNs:
    """Out of the loop's way, as it may take a process. Whoever is cancelled meanwhile leaves none behind."""
    making = asyncio.ensure_future(in_thread(make))
    try:
        return await asyncio.shield(making)
    except asyncio.CancelledError:
        with suppress(MachineError):
            (await making).delete()
        raise


def _if_ipv6(command: str) -> tuple[str, ...]:
    return (command,) if ipv6_enabled() else ()


def _choose(used: Iterable[str], wanted: Subnets | None, services: IPv4Network) -> Subnets:
    taken = tuple(used)
    if wanted is None:
        subnets = choose(taken, services)
        if subnets is None:
            raise MachineError(
                "no subnet 10.N.0.0/16 is free for the mesh", "free one: see `ip route`, or use --pod-cidr"
            )
        return subnets
    if wanted.v4.overlaps(wanted.services):
        what = f"the pods' network {wanted.v4} and the Services' {wanted.services} share addresses"
        raise MachineError(what, "choose another --pod-cidr or --service-cidr")
    if (overlap := find_overlap(wanted.v4, parse_used(taken))) is not None:
        raise MachineError(
            f"the host has a route to {overlap}, which pods' {wanted.v4} overlaps", "choose another --pod-cidr"
        )
    return wanted


async def _routed() -> tuple[str, ...]:
    """The networks of all of the host's IPv4 routes."""
    completed = await run(("ip", "-json", "-4", "route", "show", "table", "all"))
    routes = json.loads(completed.stdout or "[]")
    return tuple(route["dst"] for route in routes if route.get("dst", "default") != "default")
