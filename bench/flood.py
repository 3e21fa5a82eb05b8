"""What a pod that floods its proxy does to the others' requests: where each has its own Envoy, and where all share one.

    python -m bench.flood [--rounds N] [--seconds N] [--flood CONNECTIONS]...

A client asks a server 200 times a second, over 8 connections, while another pod asks its own server as fast as it goes,
over so many connections. Ways: each pod its own Envoy; one of the machine, with so many workers. `bare`: no proxy at
all, to show what the flood's own share of the processors does. Medians of the rounds; the machine has it all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Final

from bench.mesh import HERE, Mesh, mesh
from bench.pods import NODE, UNINJECTED, served

WORKERS: Final = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data: {{mesh: "defaultConfig: {{concurrency: {workers}}}"}}
"""
WAYS: Final = {
    "bare": (UNINJECTED, 1),
    "sidecars": ("pilotfish.io/proxy: sidecar", 1),
    "node, 1": (NODE, 1),
    "node, 2": (NODE, 2),
    "node, 4": (NODE, 4),
    "node, 8": (NODE, 8),
}
LEAD: Final = 4.0
"""Seconds from the flood's beginning to when it counts: its connections are there then."""
PODS: Final = ("caller", "called", "noisy", "flooded")


def run(made: Mesh, pod: str, host: str, rate: int, seconds: float, connections: int) -> subprocess.Popen[str]:
    load = [sys.executable, "-S", "-E", str(HERE / "http_load.py"), host, "8000"]
    line = made.line("exec", pod, "--", *load, str(rate), str(seconds), str(connections))
    return subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=made.environment)


@contextmanager
def flooding(made: Mesh, host: str, connections: int, seconds: float) -> Iterator[None]:
    if not connections:
        yield
        return
    flood = run(made, "noisy", host, 0, seconds + 2 * LEAD, connections)
    time.sleep(LEAD)
    try:
        yield
    finally:
        flood.terminate()
        flood.communicate()


def measure(way: str, floods: list[int], rounds: int, seconds: float) -> None:
    annotations, workers = WAYS[way]
    text = "---".join((*(served(name, annotations) for name in PODS), WORKERS.format(workers=workers)))
    with ExitStack() as stack:
        made, _ = stack.enter_context(mesh(1, 1, more=text))
        address = {pod["name"]: pod["addresses"][0] for pod in made.status()["pods"]}
        hosts = {name: address[name] if way == "bare" else name for name in PODS}
        for connections in (0, *floods):
            found = []
            for _ in range(rounds):
                with flooding(made, hosts["flooded"], connections, seconds):
                    said, _ = run(made, "caller", hosts["called"], 200, seconds, 8).communicate()
                    found.append(json.loads(said))
            figures = (median(each[key] for each in found) for key in ("mean", "p50", "p90", "p99"))
            print(f"{way:10} {connections:6} " + " ".join(f"{figure:8.2f}" for figure in figures), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--flood", type=int, action="append", help="connections; default: 16, 64, 512")
    parser.add_argument("--way", action="append", choices=WAYS, help="default: all")
    options = parser.parse_args()
    print(f"{'way':10} {'flood':>6} {'mean ms':>8} {'p50':>8} {'p90':>8} {'p99':>8}")
    for way in options.way or WAYS:
        measure(way, options.flood or [16, 64, 512], options.rounds, options.seconds)


if __name__ == "__main__":
    main()
