"""What explaining one request costs, in a mesh of 1,000 services; and against the work that comes before it.

    python -m bench.explain [--services N]

Everything is in this process, from manifests. Times are the best of twenty, once what is held has been parsed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator

from pilotfish.explain.ask import parse
from pilotfish.explain.walk import explain
from pilotfish.offline.reading import read
from pilotfish.offline.scene import build_scene
from pilotfish.offline.world import build


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=1000)
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


def _manifests(services: int) -> Iterator[str]:
    yield _pod("client", "client")
    for number in range(services):
        yield _pod(f"p{number}", f"s{number}")
        yield (
            f"apiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: vm}}\n"
            f"spec: {{selector: {{app: s{number}}}, ports: [{{name: http, port: 80}}, {{name: tcp, port: 90}}]}}\n"
        )


def _pod(name: str, app: str) -> str:
    metadata = f"{{name: {name}, namespace: vm, labels: {{app: {app}}}}}"
    return f"apiVersion: v1\nkind: Pod\nmetadata: {metadata}\nspec: {{containers: [{{name: a, command: [a]}}]}}\n"


if __name__ == "__main__":
    main()
