"""What the mesh's own processes hold: memory and descriptors, by who holds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.chaos.world import LOAD

MORE_MEMORY = 1.0, 12.0
"""What may come in a short run: a part of what was there, and so many MB. A node that did nothing yet holds 45 MB, and
74 to 82 from the first round of everything on; that it then stays so is what long runs ask."""
STILL_MORE = 0.1, 4.0
"""What may come between the second and the last third of a long one, when everything has been done many times."""
MORE_DESCRIPTORS = 24
EVERY = 30.0
"""Seconds from sample to sample."""
GIVEN_BACK = 50.0
"""Seconds within which a process gives back what it has freed: discovery looks 5 s after somebody left, and Envoy ends
connections of what was changed when 45 s are over: of all of a machine's pods, where one serves them."""
_MANY = 12
"""Samples, from which on a run is long."""


@dataclass(frozen=True, slots=True)
class Held:
    memory: float
    """Anonymous, in MB."""
    descriptors: int


def read(status: dict[str, Any]) -> dict[str, Held]:
    """Of the node, of discovery, of the Envoys that nobody kills, and of the machine's."""
    pids = {"node": status["mesh"]["pid"], "discovery": status["discovery"]["pid"]}
    spared = {*LOAD, "steady"} - {"caller"}
    for each in status["proxies"]:
        if each["pid"] and (each["pod"] in spared or each.get("serves")):
            pids[f"Envoy of {each['pod']}"] = each["pid"]
    return {who: held(pid) for who, pid in pids.items()}


def grown(samples: Sequence[Mapping[str, Held]]) -> list[str]:
    """Who holds more than it may. The first sample is of the calm mesh; more is `flat` where it does not go on to
    grow: what a process holds after all was done to it once is what it needs."""
    if len(samples) < _MANY:
        return list(_compare(samples[0], samples[-1], MORE_MEMORY, "at the start"))
    third = len(samples) // 3
    middle, last = (_median(part) for part in (samples[third:-third], samples[-third:]))
    return list(_compare(middle, last, STILL_MORE, "in the second third of the run"))


def _compare(
    before: Mapping[str, Held], after: Mapping[str, Held], more: tuple[float, float], when: str
) -> Iterator[str]:
    part, fixed = more
    for who, held in after.items():
        if held.memory > before[who].memory * (1 + part) + fixed:
            yield f"{who} holds {held.memory:.1f} MB, and {before[who].memory:.1f} {when}"
        if held.descriptors > before[who].descriptors + MORE_DESCRIPTORS:
            yield f"{who} has {held.descriptors} descriptors, and {before[who].descriptors} {when}"


def _median(samples: Sequence[Mapping[str, Held]]) -> dict[str, Held]:
    return {
        who: Held(median(s[who].memory for s in samples), round(median(s[who].descriptors for s in samples)))
        for who in samples[0]
    }


def held(pid: int) -> Held:
    """What this process holds."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    anonymous = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Anonymous:"))
    return Held(anonymous / 1024, len(list(Path(f"/proc/{pid}/fd").iterdir())))
