"""Discovery under load: many proxies, a large mesh, one change.

python -m bench.xds [--proxies 500] [--services 1000] [--endpoints 10]

The proxies are simulated, in this process; each has a connection of its own and speaks delta ADS. Discovery is
`pilotfish discovery`, reading one objects.json. Everything is on the loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # before grpc is imported
import grpc
from envoy.service.discovery.v3 import discovery_pb2

from pilotfish.envoy.types import SERVED
from tests.prometheus import total

XDS, MONITORING = "127.0.0.1:25010", "127.0.0.1:25014"
METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
TYPES = {row.short: row.url for row in SERVED}
COLD = ("cds", "eds", "lds", "rds")
"""What every proxy is sent: a mesh without certificates has no secrets."""
ROUNDS = 5


def service(i: int, endpoints: int) -> list[dict[str, Any]]:
    meta = {"name": f"svc-{i}", "namespace": "default"}
    port = {"name": "http", "port": 8000}
    addresses = [{"ip": f"10.{i // 250}.{i % 250}.{n + 1}"} for n in range(endpoints)]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"clusterIP": f"10.96.{i // 250}.{i % 250 + 1}", "ports": [port]},
        },
        {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": meta,
            "subsets": [{"addresses": addresses, "ports": [port]}],
        },
    ]


def virtual_service(path: str) -> dict[str, Any]:
    route = [{"destination": {"host": "svc-0"}}]
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "svc-0", "namespace": "default"},
        "spec": {
            "hosts": ["svc-0"],
            "http": [{"match": [{"uri": {"prefix": path}}], "route": route}, {"route": route}],
        },
    }


class Objects:
    """The file that discovery reads."""

    def __init__(self, path: Path, services: int, endpoints: int) -> None:
        self.path = path
        self.items = [item for i in range(services) for item in service(i, endpoints)]
        self.items.append(virtual_service("/0"))
        self.version = 0

    def save(self) -> float:
        """Returns the time at which the file was in place."""
        self.version += 1
        metadata = {"resourceVersion": str(self.version)}
        text = json.dumps({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": self.items})
        beside = self.path.with_suffix(".new")
        beside.write_text(text)
        began = time.perf_counter()
        beside.rename(self.path)
        return began


@dataclass
class Fleet:
    """All proxies. `last` is when one of them last received a type's response."""

    size: int
    names: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TYPES, 0))
    last: dict[str, float] = field(default_factory=dict)
    received: int = 0
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, index: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        async with grpc.aio.insecure_channel(XDS, options=options) as channel:
            call = channel.stream_stream(METHOD)()
            for kind in ("cds", "lds"):
                request = discovery_pb2.DeltaDiscoveryRequest(type_url=TYPES[kind])
                place = self.namespace_of(index)
                request.node.id = f"sidecar~10.200.{index // 250}.{index % 250 + 1}~p-{index}.{place}~{place}.svc.x"
                await call.write(request.SerializeToString())
            async for body in call:
                await self._take(call, body, self.namespace_of(index))

    def namespace_of(self, index: int) -> str:
        """Of a proxy. All of one are told the same."""
        return "default"

    async def _take(self, call: Any, body: bytes, namespace: str) -> None:
        now = time.perf_counter()
        kind, nonce = self._skim(body)
        self.received += len(body)
        answer = discovery_pb2.DeltaDiscoveryRequest(type_url=TYPES[kind], response_nonce=nonce)
        more = {"cds": "eds", "lds": "rds"}.get(kind)
        if more:
            await call.write(self._subscription(kind, more, body, namespace))
        await call.write(answer.SerializeToString())
        self.counts[kind] += 1
        self.last[kind] = now
        self.moved.set()

    def _skim(self, body: bytes) -> tuple[str, str]:
        """The type and the nonce, without parsing megabytes for every proxy."""
        for kind, url in TYPES.items():
            at = body.rfind(b"\x22" + bytes([len(url)]) + url.encode())
            if at >= 0:
                start = at + 2 + len(url)
                return kind, body[start + 2 : start + 2 + body[start + 1]].decode()
        raise ValueError("no type in the response")

    def _subscription(self, kind: str, more: str, body: bytes, namespace: str) -> bytes:
        if (namespace, kind) not in self.names:
            found = [r.name for r in discovery_pb2.DeltaDiscoveryResponse.FromString(body).resources]
            wanted = [n for n in found if n.startswith("outbound|")] if kind == "cds" else ["8000"]
            self.names[namespace, kind] = wanted
        names = self.names[namespace, kind]
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=TYPES[more], resource_names_subscribe=names)
        return bytes(request.SerializeToString())

    async def until_all(self, *kinds: str, seconds: float = 120) -> None:
        """Every proxy has received one more response of each of these types since the counts were cleared."""
        async with asyncio.timeout(seconds):
            while any(self.counts[kind] < self.size for kind in kinds):
                self.moved.clear()
                await self.moved.wait()

    def clear(self) -> None:
        self.counts = dict.fromkeys(TYPES, 0)


def anonymous(pid: int) -> float:
    """MB."""
    found = re.search(r"RssAnon:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def get(path: str) -> str:
    with urllib.request.urlopen(f"http://{MONITORING}{path}") as response:
        return str(response.read().decode())


def metric(name: str) -> float:
    return total(get("/metrics"), name)


@contextmanager
def discovery(config: Path) -> Any:
    run = "import sys; from pilotfish.cli import main; sys.argv[0] = 'pilotfish'; main()"
    words = [
        "--config",
        str(config),
        "--xds-address",
        XDS,
        "--monitoring-address",
        MONITORING,
        "--log-level",
        "warning",
    ]
    process = subprocess.Popen([sys.executable, "-c", run, "discovery", *words])
    try:
        while True:
            try:
                get("/ready")
                break
            except OSError:
                if process.poll() is not None:
                    raise SystemExit("discovery did not start") from None
                time.sleep(0.01)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


async def measure_change(fleet: Fleet, kind: str, objects: Objects, change: Callable[[int], None]) -> str:
    """Median time to the last proxy, queries and bytes for one change."""
    times = []
    queries, sent = metric("pilotfish_queries_run_total"), metric("pilotfish_xds_bytes_total")
    for turn in range(1, ROUNDS + 1):
        change(turn)
        fleet.clear()
        began = await asyncio.to_thread(objects.save)
        await fleet.until_all(kind)
        times.append((fleet.last[kind] - began) * 1e3)
        await asyncio.sleep(0.3)  # a change of its own, not one of a storm
    queries = (metric("pilotfish_queries_run_total") - queries) / ROUNDS
    sent = (metric("pilotfish_xds_bytes_total") - sent) / ROUNDS
    return f"{median(times):8.0f} ms   {queries:6.0f} queries   {sent / 1e6:8.2f} MB"


async def measure(proxies: int, services: int, endpoints: int, directory: Path) -> None:
    objects = Objects(directory / "objects.json", services, endpoints)
    objects.save()
    began = time.perf_counter()
    with discovery(objects.path) as process:
        print(f"{services} services x {endpoints} endpoints, {proxies} proxies")
        elapsed = time.perf_counter() - began
        print(f"discovery ready after           {elapsed:8.2f} s    {anonymous(process.pid):6.0f} MB anonymous")
        fleet = Fleet(proxies)
        began = time.perf_counter()
        tasks = [asyncio.create_task(fleet.run(i)) for i in range(proxies)]
        waiting = asyncio.create_task(fleet.until_all(*COLD))
        await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        waiting.result()
        elapsed = max(fleet.last.values()) - began
        memory, sent = anonymous(process.pid), fleet.received / 1e6
        print(f"all proxies synced from cold    {elapsed:8.2f} s    {memory:6.0f} MB anonymous   {sent:.0f} MB sent")
        await asyncio.sleep(0.5)

        def move_endpoint(turn: int) -> None:
            objects.items[1]["subsets"][0]["addresses"][0]["ip"] = f"10.99.0.{turn}"

        def move_route(turn: int) -> None:
            objects.items[-1] = virtual_service(f"/{turn}")

        print("one endpoint, at the last proxy ", await measure_change(fleet, "eds", objects, move_endpoint))
        print("one route, at the last proxy    ", await measure_change(fleet, "rds", objects, move_route))
        print(f"at rest                                       {anonymous(process.pid):6.0f} MB anonymous")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"proxies": 500, "services": 1000, "endpoints": 10}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        run: Awaitable[None] = measure(given.proxies, given.services, given.endpoints, Path(directory))
        asyncio.run(run)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
