"""What a sidecar costs a pod of a cluster, and how soon a change is everywhere: on the cluster of the tests.

    python -m bench.pods_in_cluster [image] [start] [memory] [change]

`start`: from `kubectl apply` of one pod until it is ready, with and without a sidecar, in turn. `memory`: of a sidecar
that has the configuration of this small mesh, by process. `change`: from the end of `kubectl apply` of a VirtualService
until the last of 20 Envoys has acknowledged it.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from tests.cluster import calculator, images, programs
from tests.cluster.conftest import own_namespace
from tests.cluster.kubectl import Kubectl
from tests.cluster.mesh import MESHED, Mesh, installed
from tests.cluster.node import Node, running_node
from tests.cluster.workloads import deployment, server

PODS = 20
RUNS = 10


def start(mesh: Mesh) -> None:
    with _namespaces(mesh) as namespaces:
        times: dict[str, list[float]] = {name: [] for name in namespaces}
        for number, (name, kubectl) in itertools.product(range(RUNS), namespaces.items()):
            began = time.perf_counter()
            kubectl.apply(server(f"web-{number}"))
            kubectl.wait("condition=Ready", f"pod/web-{number}")
            times[name].append(time.perf_counter() - began)
            kubectl("delete", f"pod/web-{number}")
    for name, took in times.items():
        print(f"a pod {name} is ready after {median(took):.2f} s ({min(took):.2f} to {max(took):.2f}, {RUNS} runs)")


def memory(mesh: Mesh) -> None:
    with own_namespace(mesh.node.kubectl, **MESHED) as kubectl:
        kubectl.apply(server("web"))
        kubectl.wait("condition=Ready", "pod/web")
        status = kubectl.get("pod/web")["status"]
        container = next(each for each in status["initContainerStatuses"] if each["name"] == "istio-proxy")
        for program, pss, anonymous in _processes(mesh.node, container["containerID"]):
            print(f"{program}: {pss / 1024:.1f} MB, of which {anonymous / 1024:.1f} MB are nobody else's")


def change(mesh: Mesh) -> None:
    with calculator.running(mesh.node.kubectl) as vm, own_namespace(mesh.node.kubectl, **MESHED) as kubectl:
        kubectl.apply(deployment("many", PODS))
        kubectl.rolled_out("deployment/many", within=300)
        shares = itertools.cycle((10, 20))
        times = [
            mesh.change_took(vm, calculator.weighted(share, 100 - share)) for share in itertools.islice(shares, RUNS)
        ]
    print(
        f"a change is acknowledged by the last of {PODS} pods and the example's {median(times) * 1e3:.0f} ms after "
        f"kubectl apply ({min(times) * 1e3:.0f} to {max(times) * 1e3:.0f}, {RUNS} runs)"
    )


def image(mesh: Mesh) -> None:
    names = mesh.node.kubectl.get("nodes", "node")["status"]["images"]
    size = next(each["sizeBytes"] for each in names if images.OWN in each["names"])
    print(f"the image is {size / 1e6:.0f} MB, {images.pilotfish().stat().st_size / 1e6:.0f} MB as an archive")


@contextmanager
def _namespaces(mesh: Mesh) -> Iterator[dict[str, Kubectl]]:
    kubectl = mesh.node.kubectl
    with own_namespace(kubectl) as plain, own_namespace(kubectl, **MESHED) as meshed:
        yield {"without a sidecar": plain, "with one": meshed}


def _processes(node: Node, container: str) -> Iterator[tuple[str, int, int]]:
    """Program, proportional set size and anonymous memory in kB."""
    for pid in node.pids(container):
        process = Path("/proc", str(pid))
        lines = (process / "smaps_rollup").read_text().splitlines()[1:]
        sizes = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
        yield (process / "comm").read_text().strip(), sizes["Pss"], sizes["Anonymous"]


def main() -> int:
    parts = {"image": image, "start": start, "memory": memory, "change": change}
    try:
        for build in (programs.control, programs.node, images.archives):
            build()
        with running_node() as node, installed(node) as mesh:
            for name in sys.argv[1:] or parts:
                parts[name](mesh)
    except programs.Missing as missing:
        print(missing, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
