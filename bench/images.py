"""What a container made from an image costs more than a process of the machine: 20 pods, both ways, and podman's own.

    python -m bench.images [start] [memory] [podman]

The app is busybox's httpd, with a readiness probe, and no sidecar: what is measured is the containers.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from bench.mesh import Mesh, anonymous

PODS = 20
RUNS = 3
IMAGE = "localhost/pilotfish-bench:1"
BUSYBOX = Path("/bin/busybox")
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: app}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: app}}}}
  template:
    metadata: {{labels: {{app: app}}, annotations: {{sidecar.istio.io/inject: "{inject}"}}}}
    spec:
      containers:
      - name: app
        {program}
        readinessProbe: {{tcpSocket: {{port: 8000}}, periodSeconds: 1}}
"""
PROGRAMS = {
    "process": f"command: [{BUSYBOX}, httpd, -f, -p, '8000', -h, /srv]",
    "image": f"image: {IMAGE}",
}


@contextmanager
def built() -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="pilotfish-bench-") as folder:
        shutil.copy(BUSYBOX, folder)
        Path(folder, "Dockerfile").write_text(
            "FROM scratch\nCOPY busybox /busybox\nWORKDIR /srv\n"
            'ENTRYPOINT ["/busybox", "httpd", "-f", "-p", "8000", "-h", "/srv"]\n'
        )
        subprocess.run(["podman", "build", "--quiet", "--tag", IMAGE, folder], check=True, capture_output=True)
        try:
            yield
        finally:
            subprocess.run(["podman", "rmi", "--force", IMAGE], check=True, capture_output=True)


@contextmanager
def mesh(program: str, replicas: int, inject: bool) -> Iterator[tuple[Mesh, float]]:
    """And the seconds from `up` until all pods are ready."""
    with tempfile.TemporaryDirectory(prefix="pilotfish-bench-") as folder:
        made = Mesh(Path(folder))
        text = DEPLOYMENT.format(replicas=replicas, inject=str(inject).lower(), program=PROGRAMS[program])
        made.save("mesh.yaml", text)
        began = time.perf_counter()
        made.call("up", str(made.sources), "--detach")
        try:
            yield made, time.perf_counter() - began
        finally:
            made.call("down")


def start() -> None:
    for inject in (False, True):
        for program in PROGRAMS:
            times, ends = [], []
            for _ in range(RUNS):
                with mesh(program, PODS, inject) as (_, seconds):
                    times.append(seconds)
                    ends.append(time.perf_counter())
                ends[-1] = time.perf_counter() - ends[-1]
            each = ", ".join(f"{t:.2f}" for t in times)
            what = f"{PODS} pods, {'with' if inject else 'without'} sidecars, {program}"
            print(f"{what}: up {median(times):.2f} s ({each}), down {median(ends):.2f} s", flush=True)


def memory() -> None:
    for program in PROGRAMS:
        with mesh(program, PODS, False) as (made, _):
            status = made.status()
            pids = [c["pid"] for pod in status["pods"] for c in pod["containers"]]
            apps = sum(anonymous(pid) for pid in pids) / PODS
            node = anonymous(status["mesh"]["pid"])
        print(f"anonymous memory, {program}: {apps:.2f} MB a container; the node {node:.1f} MB for {PODS} pods")


def podman() -> None:
    """The same container by `podman run`, one after the other."""
    names = [f"pilotfish-bench-{index}" for index in range(5)]
    limits = ("--ulimit", "nofile=1024:4096", "--ulimit", "nproc=4096:4096")
    times = []
    try:
        for name in names:
            began = time.perf_counter()
            done = subprocess.run(
                ["podman", "run", "--detach", "--network", "none", *limits, "--name", name, IMAGE],
                capture_output=True,
                text=True,
            )
            if done.returncode:
                print(f"podman can run no container here: {done.stderr.strip()}")
                return
            times.append(time.perf_counter() - began)
        monitors = list(map(int, _pids("conmon")))
        each = sum(anonymous(pid) for pid in monitors) / len(monitors)
        print(f"podman run: {median(times) * 1e3:.0f} ms a container, and {each:.2f} MB for its conmon")
    finally:
        subprocess.run(["podman", "rm", "--force", "--time", "0", *names], capture_output=True, check=False)


def _pids(command: str) -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().strip() == command:
                yield path.parent.name
        except OSError:
            continue


def main() -> None:
    if shutil.which("podman") is None or not BUSYBOX.exists():
        print("podman or busybox-static is missing: apt-get install podman busybox-static")
        return
    measurements = {"start": start, "memory": memory, "podman": podman}
    with built():
        for name in sys.argv[1:] or measurements:
            measurements[name]()


if __name__ == "__main__":
    main()
