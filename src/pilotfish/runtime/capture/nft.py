"""nft in a namespace: tables that are ours alone, changed by one transaction for both families."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable

from pilotfish.capture import RuleSet, diff, parse_nft, render_nft
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.command import run
from pilotfish.runtime.linux.netns import NetNs

_TABLES = ("nat", "mangle", "raw")


def is_installed() -> bool:
    return shutil.which("nft") is not None


async def bring(netns: NetNs, wanted: RuleSet, tables: Iterable[str]) -> None:
    """Brings our tables to `wanted`; nothing is done if they are so.

    `tables`: those that are there (`nat`). Killed at any moment, the kernel has all of the old or all of the new.
    """
    there = tuple(tables)
    if wanted.tables and {table.name for table in wanted.tables} == set(there):
        if not diff(wanted, await read(netns), whole=True):
            return
    elif not wanted.tables and not there:
        return
    # All of them: somebody may have made one since we looked.
    text = render_nft(wanted, _TABLES)
    completed = await run(("nft", "-f", "-"), text, netns)
    if completed.returncode:
        raise _refused(netns, completed.stderr)


async def read(netns: NetNs) -> RuleSet:
    """Our tables, with counters, and with what others may have put into them."""
    completed = await run(("nft", "--numeric-priority", "list", "ruleset", "inet"), netns=netns)
    if completed.returncode:
        raise _refused(netns, completed.stderr)
    return parse_nft(completed.stdout)


def _refused(netns: NetNs, stderr: str) -> MachineError:
    said = re.sub(r"\^+", "", " ".join(stderr.split()))
    remedy = "use root" if "not permitted" in said else "see `dmesg`, and `man nft`"
    return MachineError(f"nft failed in network namespace {netns.path}: {said}", remedy)
