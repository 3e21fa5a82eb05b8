"""iptables in a namespace, both variants: `-nft`, which is today's, and `-legacy`. A kernel may hold rules of both."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Literal

from pilotfish.capture import RuleSet, diff, parse_iptables, render_iptables
from pilotfish.capture.spec import Family
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.command import run
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.packages import remedy

Variant = Literal["nft", "legacy"]


def find_program(variant: Variant, family: Family, action: Literal["save", "restore"]) -> str | None:
    """`iptables-restore` where that is of this variant, else `iptables-nft-restore`; None if there is none.

    The plain name is a link to the variant that the machine's administrator chose (update-alternatives(1)).
    """
    name = "iptables" if family == 4 else "ip6tables"
    plain = shutil.which(f"{name}-{action}")
    if plain is not None and ("legacy" in Path(plain).resolve().name) == (variant == "legacy"):
        return f"{name}-{action}"
    named = f"{name}-{variant}-{action}"
    return named if shutil.which(named) else None


async def bring(netns: NetNs, variant: Variant, family: Family, wanted: RuleSet, present: RuleSet | None) -> None:
    """Brings what is ours to `wanted`, by one iptables-restore; nothing is done if it is so.

    `present` None: it is read first. The restore has its whole text before it starts, is a process of its own, and each
    table is one transaction of the kernel's: killing this process at any moment leaves no half of it.
    """
    program = _required(variant, family, "restore")
    if present is None:
        present = await save(netns, variant, family)
    while diff(wanted, present):
        text = render_iptables(wanted, present)
        # The kernel takes a rule about a packet's user from who shares the namespace's idea of users (xt_owner.c).
        completed = await run((program, "--noflush", "--wait"), text, netns, as_owner=True)
        if not completed.returncode:
            return
        # Made for rules that somebody else has changed meanwhile, it is made again for what is there now.
        before, present = present, await save(netns, variant, family)
        if not diff(before, present) and not diff(present, before):
            raise _refused(netns, program, completed.stderr, text)


async def save(netns: NetNs, variant: Variant, family: Family) -> RuleSet:
    """All rules of this variant, others' too, with their counters."""
    program = _required(variant, family, "save")
    completed = await run((program, "--counters"), netns=netns)
    if completed.returncode:
        raise _refused(netns, program, completed.stderr)
    return parse_iptables(completed.stdout)


def has_legacy_tables(netns: NetNs, family: Family) -> bool:
    """Whether a legacy table was ever used here: the kernel lists those (iptables-save asks it the same)."""
    file = f"/proc/thread-self/net/ip{'6' if family == 6 else ''}_tables_names"
    with netns.entered():
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
    with os.fdopen(descriptor) as names:
        return bool(names.read().strip())


def _required(variant: Variant, family: Family, action: Literal["save", "restore"]) -> str:
    found = find_program(variant, family, action)
    if found is None:
        name = f"{'iptables' if family == 4 else 'ip6tables'}-{action}"
        which = "" if shutil.which(name) is None else f" of the variant {variant}"
        raise MachineError(f"the program {name}{which} is missing", remedy(name))
    return found


def _refused(netns: NetNs, program: str, stderr: str, text: str = "") -> MachineError:
    """With the line that iptables complains of, as its number says nothing to a reader."""
    said = " ".join(stderr.split())
    number = re.search(r"line:? (\d+)", said)
    lines = text.splitlines()
    line = f" ({lines[int(number[1]) - 1]})" if number and int(number[1]) <= len(lines) else ""
    remedy = "use root" if "ermission" in said or "you must be root" in said else "see `dmesg`, and `man iptables`"
    return MachineError(f"{program} failed in network namespace {netns.path}: {said}{line}", remedy)
