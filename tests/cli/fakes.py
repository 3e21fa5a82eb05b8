"""A mesh that only answers: the control socket's own protocol over a real unix socket, with views that a test sets."""

from __future__ import annotations

import fcntl
import os
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from pilotfish.envoy.types import SHOWN
from pilotfish.model.sync import Sync
from pilotfish.runtime.control.client import process_started
from pilotfish.runtime.control.views import (
    ChangesView,
    ContainerView,
    DiscoveryView,
    InboundView,
    MeshView,
    PodView,
    ProblemView,
    ProxyView,
    PublishView,
    RolloutView,
    ServiceView,
    StatusView,
    SyncView,
)

NOW = 1_800_000_000.0


def container(name: str = "app", kind: Any = "app", **fields: Any) -> ContainerView:
    values: dict[str, Any] = {"state": "running", "ready": True, "started": True, "started_at": NOW - 60, "pid": 1}
    return ContainerView(name=name, kind=kind, **(values | fields))


def pod(name: str, namespace: str = "vm", **fields: Any) -> PodView:
    values: dict[str, Any] = {
        "phase": "Running",
        "reason": "Running",
        "created_at": NOW - 130,
        "netns": "/run/netns/none",
        "directory": f"/run/pilotfish/demo/pods/{namespace}.{name}",
        "addresses": ("10.244.0.2", "fd70:6600:244::2"),
        "labels": {"app": name},
        "ready": True,
        "containers": (container(), container("istio-proxy", "proxy")),
    }
    return PodView(name=name, namespace=namespace, **(values | fields))


def sync(name: str, **states: Any) -> SyncView:
    rest = {field: states.pop(field) for field in ("connected", "error") if field in states}
    types = {row.short: Sync(states.pop(row.short, "SYNCED")) for row in SHOWN}
    return SyncView(proxy=name, types=types, **rest, **states)


def proxy(name: str, namespace: str = "vm", **states: Any) -> ProxyView:
    node = f"sidecar~10.244.0.2~{name}.{namespace}~{namespace}.svc.cluster.local"
    inbound = states.pop("inbound", InboundView())
    seen = sync(f"{name}.{namespace}", **states)
    return ProxyView(
        namespace=namespace, pod=name, node_id=node, ready=True, restarts=0, pid=77, sync=seen, inbound=inbound
    )


def service(name: str, namespace: str = "vm", **fields: Any) -> ServiceView:
    values: dict[str, Any] = {
        "type": "ClusterIP",
        "cluster_ip": "10.96.0.10",
        "ports": ("8888/TCP",),
        "created_at": NOW - 130,
        "selector": {"app": name},
    }
    return ServiceView(name=name, namespace=namespace, **(values | fields))


REFUSED = ProblemView(
    reason="Nack",
    message="Envoy refused it: bad regex; the last good form stays in force",
    severity="error",
    kind="VirtualService",
    namespace="vm",
    name="calculator",
    field="spec.http[0].match[0]",
    source="mesh.yaml:12",
    proxies=("webapp-0.vm",),
)


def mesh_view(name: str, directory: Path, **fields: Any) -> MeshView:
    pid = os.getpid()
    values: dict[str, Any] = {
        "pid": pid,
        "pid_started": process_started(pid),
        "started_at": NOW - 130,
        "netns": f"/run/netns/pf-{name}",
        "pod_subnets": ("10.244.0.0/16", "fd70:6600:244::/64"),
        "sources": ("examples/calculator",),
        "default_namespace": "vm",
    }
    return MeshView(name=name, directory=str(directory), **(values | fields))


def status_view(mesh: MeshView, **fields: Any) -> StatusView:
    discovery = DiscoveryView(
        running=True,
        pid=2,
        restarts=0,
        xds_address="10.244.0.1:15010",
        monitoring_address="10.244.0.1:15014",
    )
    values: dict[str, Any] = {
        "ready": True,
        "discovery": discovery,
        "pods": (
            pod("calculator-v1-6f-x2x", owner="deployment/calculator-v1", addresses=("10.244.0.3",)),
            pod("webapp-0"),
            pod("lonely", "other"),
        ),
        "proxies": (proxy("calculator-v1-6f-x2x"), proxy("webapp-0"), proxy("lonely", "other")),
        "services": (service("calculator"), service("webapp", ports=("80/TCP", "8889/TCP"))),
        "published": (PublishView(address="127.0.0.1:8080", target="webapp.vm:8889"),),
    }
    return StatusView(mesh=mesh, **(values | fields))


class FakeMesh:
    """Answers as `self.status` and the others say; keeps what it was asked."""

    def __init__(self, root: Path, name: str = "demo") -> None:
        self.directory = root / name
        self.directory.mkdir(parents=True)
        self.view = mesh_view(name, self.directory)
        self.status = status_view(self.view)
        self.objects: list[dict[str, Any]] = []
        self.changes: list[ChangesView] = []
        """What each change in turn answers."""
        self.publishes: list[PublishView] = []
        """What each question to open or close a port of the host answers; there is none when there are no more."""
        self.rollouts: list[RolloutView] = []
        self.on_apply: Callable[[], None] = lambda: None
        self.syncs: list[bool] = []
        """What each question whether all is in sync answers; true when there are no more."""
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.changed = threading.Condition()
        self.counter = 0
        (self.directory / "mesh.json").write_bytes(msgspec.json.encode(self.view))
        # As the process of a mesh does.
        self._claim = os.open(self.directory, os.O_RDONLY)
        fcntl.flock(self._claim, fcntl.LOCK_EX)
        self._server = _Server(str(self.directory / "control.sock"), _Handler)
        self._server.mesh = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def set(self, **fields: Any) -> None:
        """Another status, of which those who wait are told."""
        with self.changed:
            self.status = msgspec.structs.replace(self.status, **fields)
            self.counter += 1
            self.changed.notify_all()

    def close(self) -> None:
        with self.changed:
            self.counter += 1
            self.changed.notify_all()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        os.close(self._claim)

    def answer(self, path: str, asked: dict[str, Any]) -> Any:
        self.asked.append((path, asked))
        match path:
            case "/status":
                return self.status
            case "/objects":
                return [each for each in self.objects if _wanted(each, asked)]
            case "/events":
                return self._wait(int(asked.get("since", -1)), float(asked.get("wait", 0)))
            case "/apply":
                self.on_apply()
                return self.changes.pop(0)
            case "/delete" | "/patch" | "/scale" | "/rollout/restart":
                return self.changes.pop(0)
            case "/publish" | "/unpublish":
                return self.publishes.pop(0) if self.publishes else None
            case "/synced":
                return self.syncs.pop(0) if self.syncs else True
            case "/rollout/status":
                return self.rollouts.pop(0) if len(self.rollouts) > 1 else next(iter(self.rollouts), None)
            case "/proxy/restart":
                return {}
            case _:
                return None

    def _wait(self, since: int, wait: float) -> int:
        with self.changed:
            self.changed.wait_for(lambda: self.counter > since, wait)
            return self.counter


def _wanted(document: dict[str, Any], asked: dict[str, Any]) -> bool:
    metadata = document["metadata"]
    return bool(
        asked.get("kind", document["kind"]) == document["kind"]
        and asked.get("namespace", metadata.get("namespace")) == metadata.get("namespace")
        and asked.get("name", metadata["name"]) == metadata["name"]
    )


class _Server(socketserver.ThreadingUnixStreamServer):
    mesh: FakeMesh
    daemon_threads = False


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self._answer(url.path, dict(parse_qsl(url.query)))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(self.path, msgspec.json.decode(body))

    def _answer(self, path: str, asked: dict[str, Any]) -> None:
        found = self.server.mesh.answer(path, asked)
        content = b"no such thing here" if found is None else msgspec.json.encode(found)
        self.send_response(404 if found is None else 200)
        self.end_headers()
        self.wfile.write(content)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *arguments: object) -> None:
        pass
