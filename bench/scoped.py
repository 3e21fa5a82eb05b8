"""A mesh whose clients import ten services each, against the same mesh without a Sidecar, in one run.

python -m bench.scoped [--proxies 500] [--services 1000] [--endpoints 10] [--namespaces 50] [--imports 10]

The proxies are simulated, as in `bench.xds`: what discovery sends to all of them from cold.
With root, one real Envoy then holds what a proxy is sent.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.xds import COLD, Fleet, Objects, anonymous, discovery
from pilotfish.config import load
from pilotfish.derive import Graph
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.types import ORDER
from pilotfish.envoy.values import ResourceSet
from pilotfish.mesh import inputs
from pilotfish.model import Proxy


@dataclass
class Found:
    sent: float
    """MB, to all proxies from cold."""
    seconds: float
    growth: float
    """MB that discovery's anonymous memory has grown by."""
    held: int
    """Bytes of one proxy's resources."""
    envoy: float
    """MB of anonymous memory that an Envoy has more than with an empty mesh."""


@dataclass
class Namespaces(Fleet):
    count: int = 1

    def namespace_of(self, index: int) -> str:
        return f"client-{index % self.count}"


def sidecar(namespace: int, services: int, imports: int) -> dict[str, Any]:
    hosts = [f"default/svc-{(namespace * imports + i) % services}.default.svc.cluster.local" for i in range(imports)]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Sidecar",
        "metadata": {"name": "default", "namespace": f"client-{namespace}"},
        "spec": {"egress": [{"hosts": hosts}]},
    }


async def measure(objects: Objects, given: argparse.Namespace) -> Found:
    objects.save()
    with discovery(objects.path) as process:
        before = anonymous(process.pid)
        fleet = Namespaces(given.proxies, count=given.namespaces)
        began = time.perf_counter()
        tasks = [asyncio.create_task(fleet.run(i)) for i in range(given.proxies)]
        waiting = asyncio.create_task(fleet.until_all(*COLD))
        await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        waiting.result()
        elapsed, growth = max(fleet.last.values()) - began, anonymous(process.pid) - before
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    told = _resources(objects)
    held = sum(len(r.body) for kind in ORDER for r in told.resources(kind))
    return Found(fleet.received / 1e6, elapsed, growth, held, _in_envoy(told) - _in_envoy(_resources(None)))


def _resources(objects: Objects | None) -> ResourceSet:
    graph = Graph()
    if objects is not None:
        loaded = load(objects.path.read_text(), "objects.json")
        inputs.apply(graph, {m.ref: m for m in loaded.manifests})
    return resource_set(graph, Proxy.of_pod("p", "client-0", ("10.245.1.1", "fd00:245::1")))


def _in_envoy(resources: ResourceSet) -> float:
    """0 without root: a real Envoy wants a network namespace."""
    if os.geteuid() != 0:
        return 0.0
    from tests.envoy.conftest import Start

    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        started = Start(Path(directory))
        try:
            return anonymous(started.serving(resources).processes[0].pid)
        finally:
            started.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"proxies": 500, "services": 1000, "endpoints": 10, "namespaces": 50, "imports": 10}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    print(f"{given.services} services x {given.endpoints} endpoints, {given.proxies} proxies, {given.imports} imported")
    found = []
    with TemporaryDirectory() as directory:
        for scoped in (False, True):
            objects = Objects(Path(directory) / "objects.json", given.services, given.endpoints)
            if scoped:
                objects.items += [sidecar(i, given.services, given.imports) for i in range(given.namespaces)]
            found.append(asyncio.run(measure(objects, given)))
    whole, scoped_ = found
    for what, one, other, unit in (
        ("sent to all proxies from cold", whole.sent, scoped_.sent, "MB"),
        ("until the last had it", whole.seconds, scoped_.seconds, "s"),
        ("discovery grew by", whole.growth, scoped_.growth, "MB"),
        ("one proxy's resources", whole.held / 1e3, scoped_.held / 1e3, "kB"),
        ("an Envoy's memory for them", whole.envoy, scoped_.envoy, "MB"),
    ):
        ratio = f"1/{one / other:.1f}" if other > 0 else "-"
        print(f"{what:30} {one:9.1f} {unit:2} without   {other:9.1f} {unit:2} with a Sidecar   {ratio}")


if __name__ == "__main__":
    main()
