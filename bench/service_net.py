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
from pilotfish.runtime.net.network import MeshNetwork
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
    network = await MeshNetwork.create(f"bench-{os.getpid()}")
    try:
        net = _Net(network)
        began = time.perf_counter()
        render_all(frontends, str(network.subnets.host[0]), str(network.subnets.machine))
        text = time.perf_counter() - began
        loaded = await net.bring(frontends)
        print(f"{services} services x {endpoints} endpoints: {loaded * 1000:.0f} ms (text: {text * 1000:.0f} ms)")
        for what, other in (("one endpoint less", _less), ("one service more", _more), ("one with affinity", _sticky)):
            changed = other(frontends, endpoints)
            began = time.perf_counter()
            render_changes(frontends, changed)
            text = time.perf_counter() - began
            times = [await net.bring(wanted) for _ in range(rounds) for wanted in (changed, frontends)]
            print(f"{what}, and back: {statistics.median(times) * 1000:.1f} ms (text: {text * 1000:.2f} ms)")
        await net.rules.close()
    finally:
        await network.delete()


class _Net:
    def __init__(self, network: MeshNetwork) -> None:
        self.rules = ServiceNet(network, self._frontends, lambda: None)
        self._wanted: Frontends = {}

    async def bring(self, frontends: Frontends) -> float:
        """Seconds until the kernel has them."""
        began = time.perf_counter()
        self._wanted = frontends
        self.rules.refresh()
        await self.rules.wait()
        if self.rules.failure:
            raise SystemExit(self.rules.failure)
        return time.perf_counter() - began

    async def _frontends(self) -> Frontends:
        return self._wanted


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
