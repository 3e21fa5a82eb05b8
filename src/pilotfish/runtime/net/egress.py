"""The way out of a mesh, on the host and in the node's namespace, for as long as the mesh lives.

open ─▶ a table in both, routes to the host, forwarding where it was off ─▶ followed as the host changes
`sweep` ─▶ the host is as it was (also after `kill -9`: its table says what was set)
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pilotfish.egress import (
    Obstacle,
    Ways,
    find_obstacles,
    find_old_obstacles,
    render_host,
    render_node,
    table_name,
)
from pilotfish.model import Problem, Severity
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux import netlink
from pilotfish.runtime.linux.command import ip, run
from pilotfish.runtime.linux.loopback import ipv6_enabled
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.told import told
from pilotfish.runtime.net import forwarding
from pilotfish.runtime.net.host_tables import HostTable, load, read_tables
from pilotfish.runtime.net.network import MeshNetwork
from pilotfish.runtime.net.one_at_a_time import one_at_a_time

_log = logging.getLogger(__name__)
_SETTLING = 0.2
"""Seconds that a burst of changes is waited for."""
_AGAIN = 5.0
"""Seconds until what failed is tried again."""
_LINKS, _ROUTES, _IPV6_ROUTES, _SETTINGS = 1, 7, 11, 24
_RULES = 7
_GROUPS: Final = ((netlink.ROUTE, (_LINKS, _ROUTES, _IPV6_ROUTES, _SETTINGS)), (netlink.NETFILTER, (_RULES,)))
"""A network that is joined, a VPN that comes up, Docker that is started, a firewall that is loaded."""
_MESHES: Final = "pf-"
_LEGACY: Final = (("iptables-legacy", "ip_tables_names"), ("ip6tables-legacy", "ip6_tables_names"))


class Egress:
    def __init__(self, network: MeshNetwork, on_change: Callable[[], None]) -> None:
        """`on_change` is called when `problems` are others."""
        self._network = network
        self._on_change = on_change
        self._ways: Ways | None = None
        self._has_ipv6 = False
        self._failure = ""
        self._obstacles: tuple[Obstacle, ...] = ()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """MachineError if the host refuses; what there is by then is `sweep`'s."""
        subnets, node = self._network.subnets, self._network.node
        await load(render_node(subnets.v4), node)
        await ip((f"route replace default via {subnets.host[0]}",), node)
        await self._bring()
        self._task = asyncio.get_running_loop().create_task(self._follow())

    async def close(self) -> None:
        """Nothing is followed any more; `sweep` takes it down."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def problems(self) -> tuple[Problem, ...]:
        if self._failure:
            message = f"pods may not reach what is outside of the mesh: {self._failure}"
            return (Problem(None, "", "EgressFailed", message),)
        return tuple(
            Problem(
                None,
                "",
                "EgressBlocked",
                f"what pods send out of the mesh is dropped by the host: {each.place}, as {each.why}; let it through: "
                + "; ".join(each.remedy),
                Severity.WARNING,
            )
            for each in self._obstacles
        )

    async def _follow(self) -> None:
        with told(NetNs.current(), _GROUPS) as changed:
            changed.set()  # something may have changed since `open` looked
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_AGAIN if self._failure else None):
                        await changed.wait()
                await asyncio.sleep(_SETTLING)
                changed.clear()
                before = self.problems
                self._failure = await self._try()
                if self.problems != before:
                    self._on_change()

    async def _try(self) -> str:
        """Why the way out is not as it should be; "" if it is."""
        try:
            await self._bring()
        except (MachineError, OSError) as error:
            _log.error("the way out: %s", error)
            return str(error)
        except Exception as error:
            _log.exception("the way out")
            return f"a fault in pilotfish, see node.log: {error!r}"
        return ""

    async def _bring(self) -> None:
        async with one_at_a_time():
            tables = await read_tables()
            ways = await self._judge(tables)
            if ways != self._ways or table_name(ways.mesh) not in tables:
                # The table says what is set before it is, so that it can be undone whatever comes between.
                await load(render_host(ways))
                self._ways = ways
            if not forwarding.forwards_all():
                forwarding.set_forwarding((ways.interface, *ways.forwarded), True)
            if ways.forwarded_ipv6 and not forwarding.forwards_ipv6():
                forwarding.start_forwarding_ipv6()
        await self._route_ipv6()
        self._obstacles = await _find_obstacles(ways.interface)

    async def _judge(self, tables: Mapping[str, HostTable]) -> Ways:
        """`tables`: those of all meshes."""
        network, subnets, before = self._network, self._network.subnets, self._ways
        out = await _outward("-4")
        self._has_ipv6 = ipv6_enabled() and bool(await _outward("-6"))
        # What this mesh has set is its own to undo, also where no route leads any more, or its table was flushed.
        kept = HostTable(before.forwarded, before.forwarded_ipv6, before.routers) if before else HostTable()
        meshes = (kept, *tables.values())
        by_meshes = frozenset[str]().union(*(each.forwarded for each in meshes))
        mine = kept.forwarded.union(each for each in out if each in by_meshes or not forwarding.forwards(each))
        ipv6_by_meshes = any(each.forwarded_ipv6 for each in meshes)
        opens_ipv6 = kept.forwarded_ipv6 or (self._has_ipv6 and (ipv6_by_meshes or not forwarding.forwards_ipv6()))
        routers = frozenset[str]().union(*(each.routers for each in meshes))
        if not ipv6_by_meshes:
            routers = forwarding.ipv6_routers()
        return Ways(
            network.mesh,
            network.host_interface,
            subnets.v4,
            subnets.v6,
            # Somebody who has switched all on means it: then nothing is ours to switch off.
            frozenset[str]() if forwarding.forwards_all() else mine,
            opens_ipv6,
            routers if opens_ipv6 else frozenset[str](),
        )

    async def _route_ipv6(self) -> None:
        """Where the host has no IPv6 a pod is told so at once, and not left to wait."""
        if ipv6_enabled():
            way = f"default via {self._network.subnets.host[1]}" if self._has_ipv6 else "unreachable ::/0"
            await ip((f"route replace {way}",), self._network.node)


async def _outward(family: str) -> tuple[str, ...]:
    """The interfaces by which the host's routes lead on, meshes' aside."""
    completed = await run(("ip", "-json", family, "route", "show", "table", "all"))
    found = (each for each in json.loads(completed.stdout or "[]") if each.get("type", "unicast") == "unicast")
    hops = (hop for each in found if _leads_on(each) for hop in each.get("nexthops", (each,)))
    devices = dict.fromkeys(hop.get("dev", "") for hop in hops)
    return tuple(name for name in devices if name not in ("", "lo") and not name.startswith(_MESHES))


def _leads_on(route: Mapping[str, Any]) -> bool:
    """Every interface has link-local and multicast routes."""
    return not str(route.get("dst", "")).lower().startswith(("fe80:", "ff", "169.254."))


async def _find_obstacles(interface: str) -> tuple[Obstacle, ...]:
    completed = await run(("nft", "-j", "list", "ruleset"))
    found = find_obstacles(completed.stdout, interface) if not completed.returncode else ()
    return (*found, *[each for old in await _read_legacy() for each in find_old_obstacles(old[1], interface, old[0])])


async def _read_legacy() -> Iterable[tuple[str, str]]:
    """(program, what it saves) of the tables that nft knows nothing of."""
    found = []
    for program, names in _LEGACY:
        with suppress(OSError):
            if "filter" in Path("/proc/net", names).read_text().split():
                with suppress(MachineError):
                    found.append((program, (await run((f"{program}-save", "-t", "filter"))).stdout))
    return found
