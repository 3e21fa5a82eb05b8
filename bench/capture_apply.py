"""What applying capture rules to a pod costs beyond the program that tells the kernel (as root).

    python -m bench.capture_apply [--pods N]

For each back-end: render and apply into N fresh namespaces, one after another, against running the same program on
the finished text from a shell's view (fork, exec, wait), both families at once as `apply` does. Medians.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable

from pilotfish.capture import ALL, CaptureSpec, native_rules, render_iptables, render_nft, rules
from pilotfish.capture.generate import FAMILIES
from pilotfish.runtime import capture
from pilotfish.runtime.capture import PacketFilter
from pilotfish.runtime.capture.iptables import find_program
from pilotfish.runtime.linux.command import run
from pilotfish.runtime.linux.netns import NetNs

SPEC = CaptureSpec(
    inbound_ports_include=ALL,
    inbound_ports_exclude=(15020, 15021, 15090),
    outbound_ip_ranges_include=ALL,
    outbound_ports_exclude=(15020,),
    redirect_dns=True,
    capture_all_dns=True,
    enable_ipv6=True,
)
"""What a pod of a mesh has."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=30)
    asyncio.run(_measure_all(parser.parse_args().pods))


async def _measure_all(pods: int) -> None:
    print(f"{'':18}{'program':>10}{'apply':>10}{'beyond it':>11}{'again':>10}{'verify':>10}")
    for backend in PacketFilter:
        columns: list[list[float]] = [[], [], [], []]
        for number in range(pods):
            for column, seconds in zip(columns, await _measure(backend, number), strict=True):
                column.append(seconds * 1000)
        program, applied, again, verified = (statistics.median(column) for column in columns)
        figures = (program, applied, applied - program, again, verified)
        print(f"{backend:18}" + "".join(f"{figure:8.1f}ms" for figure in figures))


async def _measure(backend: PacketFilter, number: int) -> tuple[float, float, float, float]:
    """Seconds of: the program alone, applying, applying again, verifying."""
    first, second = (NetNs.create(f"pfbench-{os.getpid()}-{number}-{which}") for which in "ab")
    try:
        return (
            await _time(lambda: _run_programs(first, backend)),
            await _time(lambda: capture.apply(second, SPEC, backend=backend)),
            await _time(lambda: capture.apply(second, SPEC, backend=backend)),
            await _time(lambda: capture.verify(second, SPEC, backend=backend)),
        )
    finally:
        first.delete()
        second.delete()


async def _run_programs(netns: NetNs, backend: PacketFilter) -> None:
    if backend is PacketFilter.NFT:
        await run(("nft", "-f", "-"), _TEXTS[backend][0], netns)
        return
    kind = "nft" if backend is PacketFilter.IPTABLES_NFT else "legacy"
    programs = (str(find_program(kind, family, "restore")) for family in FAMILIES)  # type: ignore[arg-type]
    texts = _TEXTS[backend]
    await asyncio.gather(
        *(run((p, "--noflush", "--wait"), text, netns) for p, text in zip(programs, texts, strict=True))
    )


_IPTABLES = tuple(render_iptables(rules(SPEC, family)) for family in FAMILIES)
_TEXTS = {
    PacketFilter.IPTABLES_NFT: _IPTABLES,
    PacketFilter.IPTABLES_LEGACY: _IPTABLES,
    PacketFilter.NFT: (render_nft(native_rules(SPEC)),),
}


async def _time(work: Callable[[], Awaitable[object]]) -> float:
    start = time.perf_counter()
    await work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
