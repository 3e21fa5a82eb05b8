"""A mesh with ways of every kind, and requests through it: what is predicted of them, and what becomes of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from random import Random
from typing import Any

from pilotfish.explain.accesslog import AccessLogEntry
from pilotfish.explain.ask import parse
from pilotfish.explain.scene import Scene
from pilotfish.explain.trace import End, Outcome, Trace
from pilotfish.explain.walk import explain
from tests.e2e.harness import Mesh

SERVER = """
import os, socketserver, threading

NAME = os.environ["HOSTNAME"].encode()

class Tell(socketserver.StreamRequestHandler):
    '''Its name: to a request as its answer, to any other line as it is.'''
    def handle(self):
        if not self.rfile.readline().strip().endswith(b"HTTP/1.1"):
            self.wfile.write(NAME)
            return
        while self.rfile.readline().strip(): pass
        head = b"HTTP/1.1 200 OK\\r\\nconnection: close\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(NAME)
        self.wfile.write(head + NAME)

socketserver.ThreadingTCPServer.allow_reuse_address = True
for place in (("0.0.0.0", 7000), ("127.0.0.1", 8002)):
    threading.Thread(target=socketserver.ThreadingTCPServer(place, Tell).serve_forever, daemon=True).start()
socketserver.ThreadingTCPServer(("0.0.0.0", 8000), Tell).serve_forever()
"""
CLIENT = """
import http.client, json, socket, sys

def call(host, port, application, method, path, headers):
    try:
        if application == "tcp":
            with socket.create_connection((host, port), 5) as stream:
                stream.sendall(b"hello\\n")
                got = stream.recv(100)
                if got.startswith(b"HTTP/1.1 "): return {"status": int(got.split()[1])}
                return {"pod": got.decode()} if got else {"end": "reset"}
        connection = http.client.HTTPConnection(host, port, timeout=5)
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        return {"status": answer.status, "pod": body}
    except socket.gaierror: return {"end": "refused"}
    except ConnectionRefusedError: return {"end": "refused"}
    except TimeoutError: return {"end": "timeout"}
    except (ConnectionError, http.client.HTTPException) as error: return {"end": "reset"}

print(json.dumps([call(*each) for each in json.load(sys.stdin)]))
"""
MESH = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data: {{mesh: "accessLogFile: /dev/stdout"}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: programs}}
data:
  server.py: {json.dumps(SERVER)}
"""


def _deployment(name: str, labels: dict[str, str], annotations: dict[str, str], command: list[str]) -> dict[str, Any]:
    ready = {"tcpSocket": {"port": 8000}, "periodSeconds": 1} if command[0] == "python3" else None
    container: dict[str, Any] = {"name": "app", "command": command}
    container |= {"volumeMounts": [{"name": "programs", "mountPath": "/programs"}]}
    container |= {"readinessProbe": ready} if ready else {}
    metadata = {"labels": labels, "annotations": annotations}
    volumes = [{"name": "programs", "configMap": {"name": "programs"}}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": metadata, "spec": {"containers": [container], "volumes": volumes}},
        },
    }


def _service(name: str, app: str, ports: dict[str, tuple[int, int]], **spec: Any) -> dict[str, Any]:
    listed = [{"name": word, "port": port, "targetPort": target} for word, (port, target) in ports.items()]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": listed, **spec},
    }


def _istio(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def _to(subset: str = "", host: str = "shop", weight: int = 0) -> dict[str, Any]:
    destination = {"host": host} | ({"subset": subset} if subset else {})
    return {"destination": destination} | ({"weight": weight} if weight else {})


def _rule(prefix: str, **fields: Any) -> dict[str, Any]:
    return {"match": [{"uri": {"prefix": prefix}}], **fields}


_RUN = ["python3", "/programs/server.py"]
_IDLE = ["sleep", "infinity"]
_EVERY = {"percentage": {"value": 100}}
_SHOP = {"http": (80, 8000), "http-none": (81, 8001), "http-local": (82, 8002), "tcp": (90, 7000)}
OBJECTS = (
    _deployment("shop-v1", {"app": "shop", "version": "v1"}, {}, _RUN),
    _deployment("shop-v2", {"app": "shop", "version": "v2"}, {}, _RUN),
    _deployment("bare", {"app": "bare"}, {"sidecar.istio.io/inject": "false"}, _RUN),
    _deployment("client", {"app": "client"}, {}, _IDLE),
    _deployment("past", {"app": "past"}, {"traffic.sidecar.istio.io/excludeOutboundPorts": "80,90"}, _IDLE),
    _service(
        "shop", "shop", {"http": (80, 8000), "http-none": (81, 8001), "http-local": (82, 8002), "tcp": (90, 7000)}
    ),
    _service("raw", "shop", {"tcp-web": (80, 8000), "tcp-none": (81, 8001), "any": (85, 8000)}),
    _service("each", "shop", {"http": (80, 8000), "tcp": (90, 7000)}, clusterIP="None"),
    _service("bare", "bare", {"http": (80, 8000), "http-none": (81, 8001), "tcp": (90, 7000)}),
    _service("empty", "nobody", {"http": (80, 8000), "tcp": (90, 7000)}),
    _istio(
        "DestinationRule",
        "shop",
        host="shop",
        subsets=[{"name": v, "labels": {"version": v}} for v in ("v1", "v2", "v3")],
    ),
    _istio(
        "VirtualService",
        "shop",
        hosts=["shop"],
        http=[
            {"match": [{"headers": {"user": {"exact": "jason"}}, "uri": {"prefix": "/who"}}], "route": [_to("v2")]},
            {"match": [{"method": {"exact": "POST"}, "uri": {"exact": "/who"}}], "route": [_to("v1")]},
            {"match": [{"queryParams": {"x": {"exact": "1"}}, "uri": {"prefix": "/who"}}], "route": [_to("v1")]},
            _rule("/fault", fault={"abort": {"httpStatus": 418} | _EVERY}, route=[_to()]),
            _rule("/old", redirect={"uri": "/new", "redirectCode": 302}),
            _rule("/direct", directResponse={"status": 207}),
            _rule("/subset", route=[_to("v3")]),
            _rule("/nowhere", route=[_to(host="absent")]),
            _rule("/rewritten", rewrite={"uri": "/who"}, route=[_to("v1")]),
            _rule("/split", route=[_to("v1", weight=30), _to("v2", weight=70)]),
            {"match": [{"uri": {"regex": "/re[0-9]+"}}], "route": [_to("v2")]},
            {"match": [{"uri": {"prefix": "/CaSe"}, "ignoreUriCase": True}], "route": [_to("v1")]},
            {"match": [{"uri": {"prefix": "/who"}}, {"uri": {"exact": "/"}}], "route": [_to()]},
            _rule("/cors", corsPolicy={"allowOrigins": [{"exact": "http://a.example"}]}, route=[_to("v1")]),
        ],
    ),
    _istio("VirtualService", "each", hosts=["each"], http=[{"route": [_to(host="each")], "timeout": "3s"}]),
)


def manifests() -> str:
    return MESH + "".join(f"---\n{json.dumps(each)}\n" for each in OBJECTS)


@dataclass(frozen=True, slots=True)
class Asked:
    client: str
    """The app that asks."""
    host: str
    port: int
    application: str
    method: str = "GET"
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)

    def numbered(self, number: int) -> Asked:
        """Known again in access logs."""
        return replace(self, path=f"{self.path}{'&' if '?' in self.path else '?'}id={number}")

    def predicted(self, scene: Scene) -> Trace:
        station = next(s for name, s in scene.stations.items() if name.startswith(f"{self.client}-"))
        url = f"{'tcp' if self.application == 'tcp' else 'http'}://{self.host}:{self.port}{self.path}"
        headers = [f"{name}: {value}" for name, value in self.headers.items()]
        return explain(scene, station, parse(url, method=self.method, headers=headers))


CLIENTS = ("client", "past", "bare")
"""With a sidecar, with ports that go past it, and without one."""
_PATHS = (
    "/", "/who", "/who/1", "/fault", "/old", "/direct", "/subset", "/nowhere", "/rewritten", "/split", "/re12", "/rex",
    "/case", "/other", "/cors", "/who?x=1", "/a/../who", "/%77ho",
)  # fmt: skip
_HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"user": "jason"},
    {"user": "other"},
    {"host": "shop"},
    {"host": "nobody.example"},
    {"host": "each:80"},
    {"origin": "http://a.example", "access-control-request-method": "GET"},
)
_HOSTS = ("shop", "shop.default", "shop.default.svc.cluster.local", "raw", "each", "bare", "empty", "absent-svc")
_PORTS = (80, 81, 82, 85, 90, 9999)


def generate(seed: int, scene: Scene, count: int) -> Iterator[Asked]:
    """`count` requests, by names and by the addresses of pods: a quarter to what is routed, a quarter no HTTP."""
    random = Random(seed)
    pods = [s.addresses[0] for name, s in scene.stations.items() if name.startswith(("shop-", "bare-"))]
    every = [
        Asked(client, host, port, "http", method, path, headers)
        for client, host, port, method, path, headers in product(
            ("client", "past", "bare"),
            (*_HOSTS, *pods),
            (*_PORTS, 8000, 8002),
            ("GET", "POST", "OPTIONS"),
            _PATHS,
            _HEADERS,
        )
    ]
    tcp = [
        Asked(client, host, port, "tcp") for client, host, port in product(CLIENTS, (*_HOSTS, *pods), (*_PORTS, 7000))
    ]
    routed = [each for each in every if (each.client, each.port) == ("client", 80) and "shop" in each.host]
    raw = min(len(tcp), count // 4)
    chosen = [*random.sample(routed, count // 4), *random.sample(every, count - count // 4 - raw)]
    yield from (each.numbered(number) for number, each in enumerate(chosen))
    yield from random.sample(tcp, raw)


def perform(mesh: Mesh, client: str, asked: list[Asked]) -> list[dict[str, Any]]:
    """What becomes of them, sent one after the other from the client's pod."""
    calls = [(a.host, a.port, a.application, a.method, a.path, a.headers) for a in asked]
    pod = mesh.pods(client)[0]["name"]
    said = mesh.exec(pod, "python3", "-c", CLIENT, stdin=json.dumps(calls), timeout=300)
    found: list[dict[str, Any]] = json.loads(said.stdout)
    return found


def agrees(outcome: Outcome, seen: dict[str, Any]) -> bool:
    if outcome.kind is End.DELIVERED:
        return outcome.pod != "" and seen.get("pod") == outcome.pod.rpartition(".")[0]
    if outcome.kind is End.RESPONSE:
        return seen.get("status") == outcome.status
    return seen.get("end") == outcome.kind.value


def logs(outcome: Outcome, entry: AccessLogEntry) -> bool:
    """The client's proxy wrote of the request what was predicted; a flag if it was the one that failed."""
    flag = outcome.flag if outcome.pod.startswith("client-") else ""
    told = (",".join(entry.response_flags), entry.upstream_cluster, entry.upstream_host)
    return told == (flag, outcome.cluster, outcome.endpoint)
