"""Capture rules into a network namespace, out of it, and read back with their counters."""

from __future__ import annotations

import asyncio
import re
import shutil

from pilotfish.capture import CaptureSpec, Mode, RuleSet, diff, parse_iptables, render_iptables, rules
from pilotfish.capture.spec import Family
from pilotfish.runtime.command import run
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.netns import NetNs

FAMILIES: tuple[Family, ...] = (4, 6)
_PROGRAM = {4: "iptables", 6: "ip6tables"}
_BACKENDS = ("-nft", "-legacy")
"""A kernel may hold rules of both at once, and applies both."""


async def apply(netns: NetNs, spec: CaptureSpec, families: tuple[Family, ...] = FAMILIES) -> None:
    """Brings the namespace to what `spec` says, whatever of ours it held before: one iptables-restore for each family.

    MachineError if iptables is missing or the kernel refuses; then that family's tables are as they were. Also for
    TPROXY, as no policy routing is set up for it: its rules alone would lose what they capture.
    """
    if spec.mode is Mode.TPROXY:
        raise MachineError(f"TPROXY can't be used in network namespace {netns.path}", "capture by REDIRECT")
    await asyncio.gather(*(_bring(netns, rules(spec, family), _PROGRAM[family]) for family in families))


async def clean(netns: NetNs, families: tuple[Family, ...] = FAMILIES) -> None:
    """Removes all that is ours, of both back-ends, and leaves others' rules."""
    programs = [f"{_PROGRAM[family]}{backend}" for family in families for backend in _BACKENDS]
    # A machine with one back-end only may lack the names that tell them apart.
    present = [program for program in programs if shutil.which(f"{program}-save")] or [_PROGRAM[f] for f in families]
    await asyncio.gather(*(_bring(netns, RuleSet(), program) for program in present))


async def read(netns: NetNs, family: Family = 4) -> RuleSet:
    """All rules that the namespace holds, others' too, with their counters."""
    return await _save(netns, _PROGRAM[family])


async def _bring(netns: NetNs, wanted: RuleSet, program: str) -> None:
    present = await _save(netns, program)
    if not diff(wanted, present):
        return
    text = render_iptables(wanted, present)
    completed = await run((f"{program}-restore", "--noflush", "--wait"), text, netns)
    if completed.returncode:
        raise _refused(netns, f"{program}-restore", completed.stderr, text)


async def _save(netns: NetNs, program: str) -> RuleSet:
    completed = await run((f"{program}-save", "--counters"), netns=netns)
    if completed.returncode:
        raise _refused(netns, f"{program}-save", completed.stderr)
    return parse_iptables(completed.stdout)


def _refused(netns: NetNs, program: str, stderr: str, text: str = "") -> MachineError:
    """With the line that iptables complains of, as its number says nothing to a reader."""
    said = " ".join(stderr.split())
    number = re.search(r"line:? (\d+)", said)
    lines = text.splitlines()
    line = f" ({lines[int(number[1]) - 1]})" if number and int(number[1]) <= len(lines) else ""
    remedy = "use root" if "ermission" in said or "you must be root" in said else "see `dmesg`, and `man iptables`"
    return MachineError(f"{program} failed in network namespace {netns.path}: {said}{line}", remedy)
