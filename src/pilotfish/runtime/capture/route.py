"""Where the kernel of a namespace would send a connection: what an evaluator of rules has to be told."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import ip_address

from pilotfish.capture import Connection, Direction
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.command import run
from pilotfish.runtime.linux.netns import NetNs


async def route(netns: NetNs, connection: Connection) -> Connection:
    """`connection` with what it leaves open filled in by `ip route get`: local or not, interface, source.

    MachineError if there is no way to the destination: then nothing is sent, and no rule asked.
    """
    outgoing = connection.direction is Direction.OUT
    words = ["ip", f"-{connection.family}", "-json", "route", "get", str(connection.destination)]
    if outgoing:
        words += ["mark", str(connection.mark), "uid", str(connection.uid or 0)]
        words += ["from", str(connection.source)] if connection.source is not None else []
        words += ["oif", connection.interface] if connection.interface else []
    completed = await run(words, netns=netns)
    found = json.loads(completed.stdout or "[]")
    if completed.returncode or not found:
        why = " ".join(completed.stderr.split()) or "no route"
        message = f"{connection.destination} can't be reached from network namespace {netns.path}: {why}"
        raise MachineError(message, "see `ip route` and `ip rule` there")
    return _fill(connection, found[0], outgoing)


def _fill(connection: Connection, found: dict[str, str], outgoing: bool) -> Connection:
    local = connection.local if connection.local is not None else found.get("type") == "local"
    if not outgoing:
        return replace(connection, local=local)
    source = found.get("prefsrc")
    return replace(
        connection,
        local=local,
        interface=connection.interface or found.get("dev", ""),
        source=connection.source or (ip_address(source) if source else None),
    )
