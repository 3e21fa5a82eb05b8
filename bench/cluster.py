"""What it costs to follow a Kubernetes cluster, at a real API server.

    python -m bench.cluster [--services N] [--pods N] [--proxies N] [--changes N]

The objects are written to an API server (etcd and kube-apiserver alone, those of the tests), pods with a status like a
kubelet's, EndpointSlices like the controllers'. Then discovery follows it: time until it serves, and until the
proxies have all; memory; CPU at rest and while pods change; how long a change takes to proxies that are connected.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from bench.xds import COLD, MONITORING, XDS, Fleet, anonymous, get
from pilotfish.cluster.paths import collection, item
from pilotfish.model.kinds import ENDPOINT_SLICE, NAMESPACE, POD, SERVICE
from pilotfish.runtime.cluster.access import find_access
from pilotfish.runtime.cluster.api import MERGE_PATCH, Api
from tests.cluster import programs
from tests.cluster.api_server import own_api_server

AT_ONCE = 24
NAMESPACES = 20
KEPT = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}
REST = 20.0
CHANGES_FOR = 10.0
Object = dict[str, Any]


def namespace(number: int) -> str:
    return f"n{number % NAMESPACES}"


def service(number: int) -> Object:
    ports = [{"name": "http", "port": 8000, "targetPort": 8080}]
    return {"metadata": {"name": f"s{number}"}, "spec": {"selector": {"app": f"s{number}"}, "ports": ports}}


def address(number: int) -> str:
    return f"10.{100 + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"


def pod(number: int, services: int) -> Object:
    """As a Deployment's, with its sidecar: as long as those of real clusters."""
    app = f"s{number % services}"
    environment = [{"name": f"VARIABLE_{each}", "value": "a value of some length"} for each in range(12)]
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 5}
    container = {
        "name": "app",
        "image": "registry.test/app:1",
        "env": environment,
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
        "readinessProbe": probe,
        "livenessProbe": probe,
    }
    proxy = container | {"name": "istio-proxy", "ports": [{"name": "http-envoy-prom", "containerPort": 15090}]}
    labels = {"app": app, "version": "v1", "pod-template-hash": f"{number % services:08x}"}
    labels |= {"security.istio.io/tlsMode": "istio", "service.istio.io/canonical-name": app}
    return {
        "metadata": {"name": f"p{number}", "labels": labels, "annotations": {"sidecar.istio.io/status": "{}"}},
        "spec": {"nodeName": f"node-{number % 50}", "containers": [container, proxy]},
    }


def status(number: int, ready: bool = True) -> Object:
    types = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    conditions = [{"type": each, "status": str(ready if "Ready" in each else True)} for each in types]
    ip = address(number)
    return {"status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": conditions}}


def endpoint(number: int, ready: bool = True) -> Object:
    conditions = {"ready": ready, "serving": ready, "terminating": False}
    target = {"kind": "Pod", "name": f"p{number}", "namespace": namespace(number)}
    return {"addresses": [address(number)], "conditions": conditions, "nodeName": "node-1", "targetRef": target}


def endpoint_slice(number: int, pods: Iterable[int], unready: int = -1) -> Object:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"s{number}-x", "labels": {"kubernetes.io/service-name": f"s{number}", **KEPT}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [endpoint(each, each != unready) for each in pods],
    }


async def all_of(work: Iterable[Awaitable[object]]) -> None:
    room = asyncio.Semaphore(AT_ONCE)

    async def do(one: Awaitable[object]) -> None:
        async with room:
            await one

    await asyncio.gather(*map(do, work))


async def fill(api: Api, services: int, pods: int) -> None:
    """Pods of one service are in its namespace: `services` is a multiple of the namespaces."""
    for number in range(NAMESPACES):
        await api.send("POST", collection(NAMESPACE), {"metadata": {"name": namespace(number)}})
        account = f"/api/v1/namespaces/{namespace(number)}/serviceaccounts/default"
        await api.apply(
            account, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}, force=True
        )
    await all_of(api.send("POST", collection(SERVICE, namespace(n)), service(n)) for n in range(services))
    await all_of(make_pod(api, n, services) for n in range(pods))
    slices = ((n, endpoint_slice(n, range(n, pods, services))) for n in range(services))
    await all_of(api.send("POST", collection(ENDPOINT_SLICE, namespace(n)), each) for n, each in slices)


async def make_pod(api: Api, number: int, services: int) -> None:
    place = namespace(number)
    await api.send("POST", collection(POD, place), pod(number, services))
    await api.send("PATCH", item(POD, place, f"p{number}", "status"), status(number), content_type=MERGE_PATCH)


@asynccontextmanager
async def discovery(kubeconfig: Path) -> AsyncIterator[tuple[subprocess.Popen[bytes], float]]:
    """And after how many seconds it serves."""
    run = "import sys; from pilotfish.cli import main; sys.argv[0] = 'pilotfish'; main()"
    where = ["--xds-address", XDS, "--monitoring-address", MONITORING, "--log-level", "warning"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", run, "discovery", "--cluster", "--kubeconfig", str(kubeconfig), *where]
    )
    try:
        while not await asyncio.to_thread(is_ready):
            if process.poll() is not None:
                raise SystemExit("discovery did not start")
            await asyncio.sleep(0.02)
        yield process, time.perf_counter() - began
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait)


def is_ready() -> bool:
    try:
        return bool(get("/ready"))
    except OSError:
        return False


def cpu(pid: int) -> float:
    """Seconds that a process has had so far."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


async def change(api: Api, turn: int, services: int, pods: int) -> float:
    """A pod of a service is not ready any more, or is again, as kubelet and controller say it. When that was said."""
    number = (turn - 1) // 2 * 7 % services
    unready = number if turn % 2 else -1
    body = endpoint_slice(number, range(number, pods, services), unready)
    began = time.perf_counter()
    place = namespace(number)
    await api.send(
        "PATCH", item(POD, place, f"p{number}", "status"), status(number, turn % 2 == 0), content_type=MERGE_PATCH
    )
    await api.apply(item(ENDPOINT_SLICE, place, f"s{number}-x"), body, force=True)
    return began


async def measure(services: int, pods: int, proxies: int, rate: int) -> None:
    with own_api_server() as server:
        async with Api(find_access(server.api.kubeconfig), "bench") as api:
            began = time.perf_counter()
            await fill(api, services, pods)
            print(
                f"{services} services, {pods} pods (written in {time.perf_counter() - began:.0f} s), {proxies} proxies"
            )
            async with discovery(server.api.kubeconfig) as (process, took):
                used = f"{anonymous(process.pid):6.0f} MB anonymous, {cpu(process.pid):.1f} s of CPU"
                print(f"discovery serves after          {took:8.2f} s    {used}", flush=True)
                await follow(api, process.pid, services, pods, proxies, rate)


async def follow(api: Api, pid: int, services: int, pods: int, proxies: int, rate: int) -> None:
    fleet = Fleet(proxies)
    began = time.perf_counter()
    tasks = [asyncio.create_task(fleet.run(each)) for each in range(proxies)]
    await fleet.until_all(*COLD)
    took = max(fleet.last.values()) - began
    print(f"all proxies have all after      {took:8.2f} s    {anonymous(pid):6.0f} MB anonymous")
    await asyncio.sleep(5)
    used = cpu(pid)
    await asyncio.sleep(REST)
    print(f"at rest                         {(cpu(pid) - used) / REST:8.2%} of a core")
    times = []
    for turn in range(1, 22):
        fleet.clear()
        began = await change(api, turn, services, pods)
        await fleet.until_all("eds")
        times.append((fleet.last["eds"] - began) * 1e3)
        await asyncio.sleep(0.2)
    print(f"one pod's readiness to all      {median(times):8.0f} ms   (p95 {quantiles(times, n=20)[-1]:.0f} ms)")
    used, began, turn = cpu(pid), time.perf_counter(), 101
    while time.perf_counter() < began + CHANGES_FOR:
        await asyncio.gather(*(change(api, turn + each, services, pods) for each in range(rate // 10)))
        turn += rate // 10
        await asyncio.sleep(max(0.0, began + (turn - 101) / rate - time.perf_counter()))
    elapsed = time.perf_counter() - began
    share = (cpu(pid) - used) / elapsed
    pace = (turn - 101) / elapsed
    print(f"{pace:3.0f} pods change a second        {share:8.1%} of a core {anonymous(pid):6.0f} MB anonymous")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=5000)
    parser.add_argument("--proxies", type=int, default=20)
    parser.add_argument("--changes", type=int, default=50, metavar="N", help="pods that change, a second")
    options = parser.parse_args()
    programs.control()
    asyncio.run(measure(options.services, options.pods, options.proxies, options.changes))


if __name__ == "__main__":
    main()
