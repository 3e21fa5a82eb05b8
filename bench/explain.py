"""What explaining one request costs, in a mesh of 1,000 services; and against the work that comes before it.

    python -m bench.explain [--services N] [--commands]

In this process, from manifests: times are the best of twenty, once what is held has been parsed. With --commands, the
command itself as well, from its start to its end: in a running mesh with so many services (this needs root), and with
-f.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from statistics import median
from typing import Final

from bench.mesh import Mesh, mesh
from pilotfish.explain.ask import parse
from pilotfish.explain.walk import explain
from pilotfish.offline.reading import read
from pilotfish.offline.scene import build_scene
from pilotfish.offline.world import build

_RUNS: Final = 9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--commands", action="store_true")
    options = parser.parse_args()
    text = "---\n".join(_manifests(options.services))
    start = time.perf_counter()
    scene = build_scene(build(read([("mesh.yaml", text)])))
    print(f"{options.services} services; read and built in {time.perf_counter() - start:.2f} s")
    client = scene.stations["client.vm"]
    for to in ("http://s7/", "s7:90", "http://s7.vm.svc.cluster.local/a/../b"):
        ask, times = parse(to), []
        for _ in range(21):
            start = time.perf_counter()
            explain(scene, client, ask)
            times.append(time.perf_counter() - start)
        print(f"{to:40}{min(times) * 1000:9.1f} ms{times[0] * 1000:9.1f} ms the first time")
    if options.commands:
        _time_commands(options.services, text)


def _time_commands(services: int, text: str) -> None:
    more = "---\n".join(_service(f"s{number}", "server") for number in range(services))
    with mesh(1, 1, more=more) as (made, _):
        _time(made, "explain", "deploy/client", "http://s7/")
        manifests = made.sources.parent / "mesh.yaml"
        manifests.write_text(text)
        _time(made, "explain", "client.vm", "http://s7/", "-f", str(manifests))


def _time(made: Mesh, command: str, *arguments: str) -> None:
    walls, processors = [], []
    for _ in range(_RUNS):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        made.call(command, *arguments)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        walls.append(time.perf_counter() - start)
        processors.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    shown = " ".join((command, *arguments[:2], *(["-f"] if "-f" in arguments else [])))
    wall, best, processor = (1000 * each for each in (median(walls), min(walls), median(processors)))
    print(f"{shown:40}{wall:9.0f} ms ({best:.0f} at best), processor {processor:.0f} ms")


def _manifests(services: int) -> Iterator[str]:
    yield _pod("client", "client")
    for number in range(services):
        yield _pod(f"p{number}", f"s{number}")
        yield _service(f"s{number}", f"s{number}", "vm")


def _service(name: str, app: str, namespace: str = "default") -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}}}\n"
        f"spec: {{selector: {{app: {app}}}, ports: [{{name: http, port: 80}}, {{name: tcp, port: 90}}]}}\n"
    )


def _pod(name: str, app: str) -> str:
    metadata = f"{{name: {name}, namespace: vm, labels: {{app: {app}}}}}"
    return f"apiVersion: v1\nkind: Pod\nmetadata: {metadata}\nspec: {{containers: [{{name: a, command: [a]}}]}}\n"


if __name__ == "__main__":
    main()
