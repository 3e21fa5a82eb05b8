"""What Services' addresses cost in the node's kernel (as root): all at once, then one change at a time.

    python -m bench.service_net [--services N] [--endpoints N] [--rounds N]

Each figure is from what is wanted to what the kernel has: the difference, its text, and `nft -f`. Medians.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from dataclasses import replace

from pilotfish.model.frontend import Frontend, Frontends
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.net.services import ServiceNet
from pilotfish.servicenet import render_all, render_changes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    asyncio.run(_measure(options.services, options.endpoints, options.rounds))


async def _measure(services: int, endpoints: int, rounds: int) -> None:
    frontends = {frontend.name: frontend for frontend in (_frontend(n, endpoints) for n in range(services))}
    netns = NetNs.create(f"pfbench-{os.getpid()}")
    try:
        net = ServiceNet(netns, lambda: None)
        began = time.perf_counter()
        render_all(frontends)
        text = time.perf_counter() - began
        loaded = await _bring(net, frontends)
        print(f"{services} services x {endpoints} endpoints: {loaded * 1000:.0f} ms (text: {text * 1000:.0f} ms)")
        for what, other in (("one endpoint less", _less), ("one service more", _more), ("one with affinity", _sticky)):
            changed = other(frontends, endpoints)
            began = time.perf_counter()
            render_changes(frontends, changed)
            text = time.perf_counter() - began
            times = [await _bring(net, wanted) for _ in range(rounds) for wanted in (changed, frontends)]
            print(f"{what}, and back: {statistics.median(times) * 1000:.1f} ms (text: {text * 1000:.2f} ms)")
        await net.close()
    finally:
        netns.delete()


async def _bring(net: ServiceNet, frontends: Frontends) -> float:
    began = time.perf_counter()
    net.want(frontends)
    await net.wait()
    if net.failure:
        raise SystemExit(net.failure)
    return time.perf_counter() - began


def _frontend(number: int, endpoints: int) -> Frontend:
    offsets = range(number * endpoints, (number + 1) * endpoints)
    found = tuple((f"10.244.{(2 + offset) // 256 % 256}.{(2 + offset) % 256}", 8080) for offset in offsets)
    address = f"10.96.{number // 250 + 1}.{number % 250 + 1}"
    return Frontend("default", f"svc-{number}", "TCP", 80, (address,), found)


def _less(frontends: Frontends, _: int) -> Frontends:
    name, frontend = next(iter(frontends.items()))
    return {**frontends, name: replace(frontend, endpoints=frontend.endpoints[1:])}


def _more(frontends: Frontends, endpoints: int) -> Frontends:
    made = _frontend(len(frontends), endpoints)
    return {**frontends, made.name: made}


def _sticky(frontends: Frontends, _: int) -> Frontends:
    name, frontend = next(iter(frontends.items()))
    return {**frontends, name: replace(frontend, affinity=10800)}


if __name__ == "__main__":
    main()
