"""A whole mesh on this machine: how fast it is up, what it costs in memory and latency, how fast a saved file counts.

    python -m bench.mesh [--proxy sidecar|node] [--pods N]... [up] [memory] [latency] [change]

All of them where none is named. `--proxy`: whose Envoy serves the pods, theirs or the machine's. `--pods`: for `up` and
`memory`; 3 and 20 where none is said.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
PILOTFISH = Path(sys.executable).parent / "pilotfish"

SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: http, port: 8000}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}, annotations: {{{annotations}}}}}
    spec:
      containers:
      - name: app
        command: [python3, -S, -E, {server}, "8000"]
        readinessProbe: {{tcpSocket: {{port: 8000}}, periodSeconds: 1}}
---
"""
ROUTE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: server}}
spec:
  hosts: [server]
  http:
  - name: {name}
    route: [{{destination: {{host: server}}}}]
"""


class Mesh:
    def __init__(self, root: Path) -> None:
        self.sources = root / "manifests"
        self.sources.mkdir()
        self.name = f"bench-{os.getpid()}"
        self.environment = {**os.environ, "PILOTFISH_STATE": str(root / "state")}

    def line(self, command: str, *arguments: str) -> list[str]:
        return [str(PILOTFISH), command, "--name", self.name, *arguments]

    def call(self, command: str, *arguments: str) -> str:
        done = subprocess.run(self.line(command, *arguments), text=True, capture_output=True, env=self.environment)
        if done.returncode:
            raise SystemExit(f"pilotfish {command} {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.call("status", "-o", "json"))
        return status

    def save(self, file: str, text: str) -> None:
        beside = self.sources / f".{file}.new"
        beside.write_text(text)
        beside.replace(self.sources / file)


@contextmanager
def mesh(
    clients: int, servers: int, plain: int = 0, more: str = "", proxy: str = "sidecar"
) -> Iterator[tuple[Mesh, float]]:
    """A mesh of so many pods, and the seconds from `up` to the first answered request; a client alone calls itself.
    `more`: other objects of it.
    `proxy`: whose Envoy serves its pods."""
    with tempfile.TemporaryDirectory(prefix="pilotfish-bench-") as folder:
        made = Mesh(Path(folder))
        kinds = (("client", clients, ""), ("server", servers, ""), ("plain", plain, 'sidecar.istio.io/inject: "false"'))
        text = "".join(
            SERVICE.format(name=name, replicas=replicas, annotations=annotations, server=HERE / "http_server.py")
            for name, replicas, annotations in kinds
            if replicas
        )
        made.save("mesh.yaml", text.removesuffix("---\n"))
        made.save("route.yaml", ROUTE.format(name="r0"))
        if more:
            made.save("more.yaml", more)
        began = time.perf_counter()
        made.call("up", str(made.sources), "--detach", "--proxy", proxy)
        try:
            url = f"http://{'server' if servers else 'client'}:8000/"
            made.call("exec", "deploy/client", "--", "curl", "-sSf", "-o", "/dev/null", url)
            yield made, time.perf_counter() - began
        finally:
            made.call("down")


def anonymous(pid: int) -> float:
    """A process's anonymous memory, in MB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith("Anonymous:"))) / 1024


def up(options: argparse.Namespace) -> None:
    for pods in options.pods:
        times = []
        for _ in range(5 if pods < 10 else 3):
            with mesh(1, pods - 1, proxy=options.proxy) as (_, seconds):
                times.append(seconds)
        each = ", ".join(f"{t:.2f}" for t in times)
        print(f"up to the first answered request, {pods} pods: {median(times):.2f} s ({each})")


def memory(options: argparse.Namespace) -> None:
    for pods in options.pods:
        with mesh(1, pods - 1, proxy=options.proxy) as (made, _):
            status = made.status()
            # Those of pods that their machine's serves have no process.
            envoys = [anonymous(p["pid"]) for p in status["proxies"] if p["pid"]]
            node = anonymous(status["mesh"]["pid"])
            discovery = anonymous(status["discovery"]["pid"])
        each = sum(envoys) / pods + node / pods
        print(
            f"anonymous memory, {pods} pods: {each:.1f} MB a pod (Envoy {sum(envoys) / pods:.1f}, "
            f"its share of the {node:.1f} MB that hold all agents {node / pods:.1f}); discovery {discovery:.1f} MB"
        )


def latency(options: argparse.Namespace) -> None:
    """The same call from pod to pod, without and with the two sidecars, in turn."""
    with mesh(1, 1, plain=2, proxy=options.proxy) as (made, _):
        pods = {app: [p for p in made.status()["pods"] if p["labels"]["app"] == app] for app in ("client", "plain")}
        ways = {
            "without": (pods["plain"][0]["name"], pods["plain"][1]["addresses"][0]),
            "with": (pods["client"][0]["name"], "server"),
        }
        load = [sys.executable, "-S", "-E", str(HERE / "http_load.py")]
        results: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
        for _ in range(3):
            for way, (pod, host) in ways.items():
                results[way].append(json.loads(made.call("exec", pod, "--", *load, host, "8000", "500", "4", "8")))
        for key in ("mean", "p50", "p99"):
            without, both = (median(r[key] for r in results[way]) for way in ("without", "with"))
            print(f"{key} at 500 requests/s: {without:.2f} ms without, {both:.2f} ms with: +{both - without:.2f} ms")


def change(options: argparse.Namespace) -> None:
    with mesh(1, 19, proxy=options.proxy) as (made, _):
        times = time_saved(made, "route.yaml", [ROUTE.format(name=f"r{i}") for i in range(1, 11)])
    report_saved("saved file", times)


def time_saved(made: Mesh, file: str, texts: Iterable[str]) -> list[float]:
    """Milliseconds from each text's being saved, one after the other, to the last proxy's ACK."""
    status = made.status()
    monitoring, directory = status["discovery"]["monitoring_address"], Path(status["mesh"]["directory"])
    times = []
    for text in texts:
        version = json.loads((directory / "config" / "objects.json").read_text())
        awaited = int(version["metadata"]["resourceVersion"]) + 1
        began = time.perf_counter()
        made.save(file, text)
        with urllib.request.urlopen(f"http://{monitoring}/api/synced?resourceVersion={awaited}&wait=10"):
            times.append((time.perf_counter() - began) * 1e3)
    return times


def report_saved(what: str, times: list[float]) -> None:
    each = ", ".join(f"{t:.0f}" for t in times)
    print(f"{what} to the last proxy's ACK, 20 pods: {median(times):.0f} ms ({each})")


def main() -> None:
    measurements = {"up": up, "memory": memory, "latency": latency, "change": change}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--proxy", choices=("sidecar", "node"), default="sidecar")
    parser.add_argument("--pods", type=int, action="append")
    parser.add_argument("what", nargs="*", choices=[*measurements, []])
    options = parser.parse_args()
    options.pods = options.pods or [3, 20]
    for name in options.what or measurements:
        measurements[name](options)


if __name__ == "__main__":
    main()
