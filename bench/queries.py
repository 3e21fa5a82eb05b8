"""What a change costs discovery, with 1,000 services of 10 endpoints loaded: queries run, bytes changed, time.

    python -m bench.queries [--services N] [--endpoints N] [--namespaces N]

Everything is in this process: no socket, no Envoy. One proxy asks in each namespace. Times are the best of five.
Garbage is collected as rarely as in discovery itself: a graph of 50,000 results is looked through in vain each time.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator

from pilotfish.config import load
from pilotfish.config.manifest import Manifest
from pilotfish.derive import Graph
from pilotfish.envoy.resources import resource_set
from pilotfish.envoy.types import ORDER
from pilotfish.envoy.values import ResourceSet
from pilotfish.mesh import inputs
from pilotfish.mesh.problems.across import problems
from pilotfish.mesh.registry.names import name_table
from pilotfish.mesh.scope import Scope
from pilotfish.model import Proxy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=10)
    parser.add_argument("--namespaces", type=int, default=1)
    options = parser.parse_args()
    gc.set_threshold(100_000, 50, 100)
    made = tuple(_mesh(options.services, options.endpoints, options.namespaces))
    proxies = [_proxy(f"ns{i}") for i in range(options.namespaces)]
    graph = Graph()
    inputs.apply(graph, {m.ref: m for m in made})
    start = time.perf_counter()
    for asking in proxies:
        resource_set(graph, asking)
    built = time.perf_counter() - start
    print(f"{options.services} services x {options.endpoints} endpoints, {options.namespaces} namespace(s)")
    print(f"{'from scratch':32}{built * 1000:9.1f} ms{graph.stats.total:9} queries{len(graph):9} kept")
    start = time.perf_counter()
    graph.get(problems)
    graph.get(name_table, Scope("ns0"))
    print(f"{'its problems and names':32}{(time.perf_counter() - start) * 1000:9.1f} ms")
    home = f"ns{7 % options.namespaces}"
    for what, change in (
        ("one endpoint not ready", lambda i: _pod("s7", 0, 7, home, ready=i % 2 == 1)),
        ("one new endpoint", lambda i: _pod("s7", 100 + i, 7, home)),
        ("one changed VirtualService", lambda i: _virtual_service("s7", home, 10 + i)),
        ("one changed DestinationRule", lambda i: _destination_rule("s7", home, 10 + i)),
        ("one new service", lambda i: _service(f"new{i}", 60000 + i, home)),
    ):
        _measure(graph, proxies, what, change)


def _measure(graph: Graph, proxies: list[Proxy], what: str, change: Callable[[int], Manifest]) -> None:
    times, queries, size = [], 0, 0
    for i in range(5):
        manifest = change(i)
        before = resource_set(graph, proxies[0])
        graph.stats.reset()
        start = time.perf_counter()
        inputs.apply(graph, {manifest.ref: manifest})
        for asking in proxies:
            resource_set(graph, asking)
        times.append(time.perf_counter() - start)
        queries, size = graph.stats.total, _changed(before, resource_set(graph, proxies[0]))
        if size == 0:
            raise SystemExit(f"{what}: {manifest.ref} changed nothing, so there is nothing to measure")
    print(f"{what:32}{min(times) * 1000:9.1f} ms{queries:9} queries{size:9} bytes changed for a proxy")


def _changed(before: ResourceSet, after: ResourceSet) -> int:
    old = {(t, r.name): r.version for t in ORDER for r in before.resources(t)}
    return sum(len(r.body) for t in ORDER for r in after.resources(t) if old.get((t, r.name)) != r.version)


def _proxy(namespace: str) -> Proxy:
    return Proxy.of_pod("client", namespace, ("10.255.0.1",))


def _mesh(services: int, endpoints: int, namespaces: int) -> Iterator[Manifest]:
    for i in range(services):
        name, namespace = f"s{i}", f"ns{i % namespaces}"
        yield _service(name, i, namespace)
        yield from (_pod(name, j, i, namespace) for j in range(endpoints))
        yield _destination_rule(name, namespace, 1)
        yield _virtual_service(name, namespace, 50)


def _manifest(kind: str, name: str, namespace: str, api: str = "v1", **rest: object) -> Manifest:
    metadata = {"name": name, "namespace": namespace, "labels": rest.pop("labels", {})}
    text = json.dumps({"apiVersion": api, "kind": kind, "metadata": metadata, **rest})
    return load(text, "bench").manifests[0]


def _service(name: str, number: int, namespace: str) -> Manifest:
    spec = {
        "clusterIP": f"10.96.{number >> 8}.{number & 255}",
        "selector": {"app": name},
        "ports": [{"name": "http", "port": 8080}],
    }
    return _manifest("Service", name, namespace, spec=spec)


def _pod(name: str, replica: int, number: int, namespace: str, ready: bool = True) -> Manifest:
    return _manifest(
        "Pod",
        f"{name}-{replica}",
        namespace,
        labels={"app": name, "version": f"v{1 + replica % 2}"},
        spec={"containers": [{"name": "app", "command": ["x"]}]},
        status={
            "podIP": f"10.{100 + (number >> 8)}.{number & 255}.{1 + replica}",
            "conditions": [{"type": "Ready", "status": str(ready)}],
        },
    )


def _destination_rule(name: str, namespace: str, seconds: int) -> Manifest:
    spec = {
        "host": name,
        "trafficPolicy": {"connectionPool": {"tcp": {"connectTimeout": f"{seconds}s"}}},
        "subsets": [{"name": v, "labels": {"version": v}} for v in ("v1", "v2")],
    }
    return _manifest("DestinationRule", name, namespace, "networking.istio.io/v1", spec=spec)


def _virtual_service(name: str, namespace: str, weight: int) -> Manifest:
    weights = {"v1": weight, "v2": 100 - weight}
    route = [{"destination": {"host": name, "subset": v}, "weight": w} for v, w in weights.items()]
    spec = {"hosts": [name], "http": [{"route": route}]}
    return _manifest("VirtualService", name, namespace, "networking.istio.io/v1", spec=spec)


if __name__ == "__main__":
    main()
