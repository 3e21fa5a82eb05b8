"""What the mesh's own processes hold: memory and descriptors, by who holds them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.world import LOAD

MORE_MEMORY = 0.3, 12.0
"""What may come: a part of what was there, and so many MB: allocators keep what they once had."""
MORE_DESCRIPTORS = 24


@dataclass(frozen=True, slots=True)
class Held:
    memory: float
    """Anonymous, in MB."""
    descriptors: int


def read(status: dict[str, Any]) -> dict[str, Held]:
    """Of the node, of discovery, and of the Envoys that nobody kills."""
    pids = {"node": status["mesh"]["pid"], "discovery": status["discovery"]["pid"]}
    spared = {*LOAD, "steady"} - {"caller"}
    pids |= {f"Envoy of {p['pod']}": p["pid"] for p in status["proxies"] if p["pod"] in spared}
    return {who: _held(pid) for who, pid in pids.items()}


def grown(before: dict[str, Held], after: dict[str, Held]) -> list[str]:
    """Who holds more than it may."""
    part, fixed = MORE_MEMORY
    found = []
    for who, held in after.items():
        if held.memory > before[who].memory * (1 + part) + fixed:
            found.append(f"{who} holds {held.memory:.1f} MB, and {before[who].memory:.1f} at the start")
        if held.descriptors > before[who].descriptors + MORE_DESCRIPTORS:
            found.append(f"{who} has {held.descriptors} descriptors, and {before[who].descriptors} at the start")
    return found


def _held(pid: int) -> Held:
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    anonymous = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Anonymous:"))
    return Held(anonymous / 1024, len(list(Path(f"/proc/{pid}/fd").iterdir())))
