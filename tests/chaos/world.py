"""The mesh that chaos strikes: its objects, as texts, and the load on it. Pure.

| who | what may happen to it |
|---|---|
| `steady` | nothing: its requests and connections never fail |
| `moving` | rollouts and scaling, which cost no request |
| `moved` | its traffic goes from one version to the other, which costs no request |
| `victim` | its apps and Envoys are killed and stopped: each has one of its own, as has `caller`, whoever has none |
| `client` | nothing: most of the load comes from it |
| `caller` | its Envoy is killed; its load goes to `steady` |
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PYTHON = [sys.executable, "-S", "-E"]
LOAD = {
    "client": {
        "steady": "kept:steady:80:30",
        "steady-fresh": "fresh:steady:80:20",
        "steady-tcp": "tcp:steady:5000:4",
        "steady-web": "web:steady:80:4",
        "moving": "kept:moving:80:30",
        "moving-fresh": "fresh:moving:80:10",
        "moved": "kept:moved:80:20",
        "victim": "kept:victim:80:20",
    },
    "caller": {"caller": "kept:steady:80:20", "caller-tcp": "tcp:steady:5000:4"},
}
"""By pod, its flows: what `load.py` is given."""
OWN_ENVOY = {"pilotfish.io/proxy": "sidecar"}
"""The annotations of those whose Envoys are struck, in a mesh with one for the machine, too."""
KEPT = ("steady-tcp", "steady-web", "caller-tcp")
"""The flows that hold one connection."""


def text(*objects: dict[str, Any]) -> str:
    return "---\n".join(json.dumps(each, indent=1) + "\n" for each in objects)


def service(name: str, app: str, *more_ports: dict[str, Any]) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8000}, *more_ports]
    return _object("v1", "Service", name, {"selector": {"app": app}, "ports": ports})


def deployment(app: str, word: str = "first", replicas: int = 2, version: str = "") -> dict[str, Any]:
    """`word` stands in every answer, in the header x-word."""
    labels = {"app": app} | ({"version": version} if version else {})
    annotations = OWN_ENVOY if app == "victim" else {}
    template = {"metadata": {"labels": labels, "annotations": annotations}, "spec": _server(word)}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return _object("apps/v1", "Deployment", f"{app}-{version}" if version else app, spec)


def moved(*versions: str, to: str) -> str:
    """`moved` with a pod of each of these versions, and all traffic to one of them."""
    rule = destination_rule("moved", "moved", {})
    rule["spec"] = {"host": "moved", "subsets": [{"name": v, "labels": {"version": v}} for v in ("v1", "v2")]}
    led = virtual_service("moved", "moved")
    led["spec"]["http"][0]["route"][0]["destination"]["subset"] = to
    return text(service("moved", "moved"), rule, led, *(deployment("moved", v, 1, v) for v in versions))


def mesh_config(config: str) -> dict[str, Any]:
    metadata = {"name": "istio", "namespace": "istio-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": config}}


def virtual_service(name: str, host: str, /, *http: dict[str, Any], **route: Any) -> dict[str, Any]:
    """The routes `http`, and after them all of a host's traffic to that host; `route`: more fields of the last."""
    last = {"route": [{"destination": {"host": host}}], **route}
    return _object("networking.istio.io/v1", "VirtualService", name, {"hosts": [host], "http": [*http, last]})


def route(name: str, /, **more: Any) -> str:
    """The path /NAME of `steady` leads to its beacon; `more`: fields of the route of everything else."""
    beacon = {"destination": {"host": "steady", "port": {"number": 8001}}}
    return text(
        virtual_service("steady", "steady", {"match": [{"uri": {"exact": f"/{name}"}}], "route": [beacon]}, **more)
    )


def destination_rule(name: str, host: str, policy: dict[str, Any]) -> dict[str, Any]:
    return _object("networking.istio.io/v1", "DestinationRule", name, {"host": host, "trafficPolicy": policy})


def _object(version: str, kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, **metadata}, "spec": spec}


def _server(word: str) -> dict[str, Any]:
    ready = {"tcpSocket": {"port": 8000}, "periodSeconds": 1, "failureThreshold": 1}
    container = {"name": "app", "command": [*PYTHON, str(HERE / "server.py"), word], "readinessProbe": ready}
    return {"containers": [container], "terminationGracePeriodSeconds": 5}


def pod(name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return _object("v1", "Pod", name, spec, labels={"app": name}, **metadata)


def sleeper(name: str, **metadata: Any) -> dict[str, Any]:
    return pod(name, {"containers": [{"name": "app", "command": ["sleep", "1000000"]}]}, **metadata)


def again(account: str) -> str:
    """A pod in a Namespace of its own."""
    space = _object("v1", "Namespace", "again", {})
    made = sleeper("again", namespace="again")
    made["spec"] |= {"serviceAccountName": account, "terminationGracePeriodSeconds": 1}
    return text(space, made)


def files() -> dict[str, str]:
    """What the mesh starts with, by file name. Each action writes files of its own."""
    tcp = {"name": "tcp", "port": 5000, "targetPort": 5000}
    beacon = {"name": "http-beacon", "port": 8001, "targetPort": 8001}
    return {
        "fixed.yaml": text(
            service("steady", "steady", tcp, beacon),
            service("moving", "moving"),
            service("victim", "victim"),
            pod("steady", _server("steady")),
            sleeper("client"),
            sleeper("caller", annotations=OWN_ENVOY),
        ),
        "moving.yaml": text(deployment("moving")),
        "moved.yaml": moved("v1", to="v1"),
        "victim.yaml": text(deployment("victim")),
        "route.yaml": route("first"),
    }
