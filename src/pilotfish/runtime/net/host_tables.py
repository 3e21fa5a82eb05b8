"""The tables that meshes have on the host, and what these say was set there for them: see `pilotfish.egress`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pilotfish.egress import FORWARDED, FORWARDED_IPV6, PREFIX, ROUTERS, table_name
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.command import run
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.net import forwarding
from pilotfish.runtime.net.one_at_a_time import one_at_a_time


@dataclass(frozen=True, slots=True)
class HostTable:
    """One mesh's."""

    forwarded: frozenset[str] = frozenset()
    forwarded_ipv6: bool = False
    routers: frozenset[str] = frozenset()


async def withdraw(mesh: str) -> tuple[str, ...]:
    """Takes the mesh's table from the host, and what was set for it alone; says what that was."""
    if shutil.which("nft") is None:
        return ()
    async with one_at_a_time():
        tables = await read_tables()
        name = table_name(mesh)
        mine = tables.pop(name, None)
        if mine is None:
            return ()
        others = frozenset[str]().union(*(each.forwarded for each in tables.values()))
        if not forwarding.forwards_all():
            forwarding.set_forwarding(mine.forwarded - others, False)
        if mine.forwarded_ipv6 and not any(each.forwarded_ipv6 for each in tables.values()):
            forwarding.stop_forwarding_ipv6(mine.routers)
        await load(f"delete table inet {name}\n")
    return (f"table inet {name}",)


async def read_tables() -> dict[str, HostTable]:
    """Those of all meshes, by name."""
    listed = await _ask(("nft", "-j", "list", "tables", "inet"))
    names = (item["table"]["name"] for item in listed if "table" in item)
    return {name: await _read_table(name) for name in names if name.startswith(PREFIX)}


async def _read_table(name: str) -> HostTable:
    listed = await _ask(("nft", "-j", "list", "table", "inet", name))
    sets = {item["set"]["name"]: frozenset(item["set"].get("elem", ())) for item in listed if "set" in item}
    empty = frozenset[str]()
    return HostTable(sets.get(FORWARDED, empty), bool(sets.get(FORWARDED_IPV6)), sets.get(ROUTERS, empty))


async def _ask(argv: tuple[str, ...]) -> list[Mapping[str, Any]]:
    completed = await run(argv)
    if completed.returncode:
        raise MachineError(f"{' '.join(argv)}: {' '.join(completed.stderr.split())}", "see `nft list tables`")
    found: list[Mapping[str, Any]] = json.loads(completed.stdout).get("nftables", [])
    return found


async def load(text: str, netns: NetNs | None = None) -> None:
    completed = await run(("nft", "-f", "-"), text, netns)
    if completed.returncode:
        where = f"network namespace {netns.name}" if netns else "the host"
        said = completed.stderr.strip() or f"nft ended with exit code {completed.returncode}"
        raise MachineError(f"nft refuses the way out in {where}: {said.splitlines()[0]}", "see `nft list ruleset`")
