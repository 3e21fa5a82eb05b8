"""Services called past the sidecar: without one, by excluded ports, by its own user, by UDP, and with old HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.harness import MakeMesh, Mesh
from tests.waiting import wait_until

SERVER = """
import os, socket, socketserver, threading

class Tcp(socketserver.StreamRequestHandler):  # each line of a connection is answered with name, client and line
    def handle(self):
        for line in self.rfile:
            if line.startswith(b"GET "):
                body = f"{NAME} {self.client_address[0]}".encode()
                return self.wfile.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body)
            self.wfile.write(f"{NAME} {self.client_address[0]} ".encode() + line)

class Udp(socketserver.DatagramRequestHandler):
    def handle(self):
        self.wfile.write(f"{NAME} {self.client_address[0]} ".encode() + self.rfile.read())

NAME = os.environ["HOSTNAME"]
socketserver.ThreadingTCPServer.allow_reuse_address = True
for port in (7000, 7001):
    threading.Thread(target=socketserver.ThreadingTCPServer(("0.0.0.0", port), Tcp).serve_forever, daemon=True).start()
threading.Thread(target=socketserver.ThreadingUDPServer(("0.0.0.0", 5300), Udp).serve_forever, daemon=True).start()
socketserver.ThreadingTCPServer(("0.0.0.0", 8000), Tcp).serve_forever()
"""
TALK = """
import socket, sys
kind = socket.SOCK_DGRAM if sys.argv[1] == "udp" else socket.SOCK_STREAM
for _ in range(int(sys.argv[5])):
    with socket.socket(type=kind) as mine:
        mine.settimeout(5)
        mine.connect((sys.argv[2], int(sys.argv[3])))
        mine.send(sys.argv[4].encode() + b"\\n")
        print(mine.recv(200).decode().strip())
"""
MANIFESTS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "accessLogFile: /dev/stdout"}
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec:
  selector: {app: shop}
  externalIPs: [203.0.113.9]
  ports: [{name: http, port: 80, targetPort: 8000}, {name: tcp-db, port: 3306, targetPort: 7000}]
---
apiVersion: v1
kind: Service
metadata: {name: names}
spec: {selector: {app: shop}, ports: [{name: dns, port: 5353, targetPort: 5300, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: sticky}
spec:
  selector: {app: shop}
  sessionAffinity: ClientIP
  ports: [{name: tcp, port: 3306, targetPort: 7000}]
---
apiVersion: v1
kind: Service
metadata: {name: raw}
spec:
  selector: {app: raw}
  ports: [{name: http, port: 80, targetPort: 8000}, {name: http-own, port: 15090, targetPort: 7001}]
---
apiVersion: v1
kind: Service
metadata: {name: through}
spec: {selector: {app: shop}, ports: [{name: http, port: 80, targetPort: 8000}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: through}
spec: {host: through, trafficPolicy: {loadBalancer: {simple: PASSTHROUGH}}}
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {type: ExternalName, externalName: shop.default.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: nobody}
spec: {selector: {app: nobody}, ports: [{name: tcp, port: 3306}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: one}
spec:
  hosts: [one.example.com]
  resolution: DNS
  ports: [{name: tcp-db, number: 5432, protocol: TCP}]
  endpoints: [{address: sticky.default.svc.cluster.local, ports: {tcp-db: 3306}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web}
spec:
  hosts: [web.example.com]
  resolution: DNS
  ports: [{name: http, number: 80, protocol: HTTP}]
  endpoints: [{address: through.default.svc.cluster.local}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: two}
spec:
  hosts: [Two.example.com]
  resolution: DNS
  ports: [{name: tcp-db, number: 5432, protocol: TCP}]
  endpoints: [{address: raw.default.svc.cluster.local, ports: {tcp-db: 80}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop}
spec:
  replicas: 2
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      containers:
      - {name: app, command: [python3, server.py], readinessProbe: {tcpSocket: {port: 8000}, periodSeconds: 1}}
---
apiVersion: v1
kind: Pod
metadata: {name: raw, labels: {app: raw}, annotations: {sidecar.istio.io/inject: "false"}}
spec:
  containers:
  - {name: app, command: [python3, server.py], readinessProbe: {tcpSocket: {port: 8000}, periodSeconds: 1}}
---
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}, annotations: {traffic.sidecar.istio.io/excludeOutboundPorts: "3306"}}
spec: {containers: [{name: sleep, command: [sleep, infinity]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: bare, labels: {app: bare}, annotations: {sidecar.istio.io/inject: "false"}}
spec: {containers: [{name: sleep, command: [sleep, infinity]}]}
"""


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    with make_mesh("e2e-addresses", {"mesh.yaml": MANIFESTS, "server.py": SERVER}) as mesh:
        yield mesh


def talk(
    mesh: Mesh,
    pod: str,
    host: str,
    port: int,
    text: str = "hello",
    kind: str = "tcp",
    times: int = 1,
    proxy: bool = False,
) -> list[str]:
    """What comes back over as many connections, of each."""
    container = ("-c", "istio-proxy") if proxy else ()
    arguments = (kind, host, str(port), text, str(times))
    done = mesh.call("exec", *container, pod, "--", "python3", "-c", TALK, *arguments, check=False)
    return done.stdout.splitlines() or [done.stderr.splitlines()[-1]]


def test_a_pod_without_a_sidecar_calls_services_by_name(mesh: Mesh) -> None:
    assert mesh.curl("bare", "http://shop/").stdout.startswith("shop-")
    assert mesh.curl("bare", "http://shop.default.svc.cluster.local/").stdout.startswith("shop-")
    answers = talk(mesh, "bare", "shop", 3306, times=40)
    assert len({answer.split()[0] for answer in answers}) == 2, "both replicas are called"
    assert mesh.curl("bare", "http://203.0.113.9/").stdout.startswith("shop-"), "an external IP"


def test_another_name_of_a_service_leads_where_its_own_does(mesh: Mesh) -> None:
    for pod in ("bare", "client"):
        assert mesh.curl(pod, "http://other/").stdout.startswith("shop-")
    (line,) = [line for line in mesh.access_log("client") if '"other"' in line]
    assert "outbound|80||shop.default.svc.cluster.local" in line
    assert "ExternalName" in mesh.call("get", "svc", "other").stdout


def test_an_excluded_port_leads_to_the_service_past_the_proxy(mesh: Mesh) -> None:
    (answer,) = talk(mesh, "client", "shop", 3306)
    assert answer.startswith("shop-")
    assert answer.endswith(" hello")
    assert not [line for line in mesh.access_log("client") if ":3306" in line]


def test_what_goes_past_the_proxy_is_said(mesh: Mesh) -> None:
    (problem,) = (p for p in mesh.status["problems"] if p["name"] == "client")
    assert problem["severity"] == "info"
    assert "3306" in problem["message"]


def test_the_proxys_own_user_calls_services_by_name(mesh: Mesh) -> None:
    (answer,) = talk(mesh, "client", "shop", 3306, proxy=True)
    assert answer.startswith("shop-")


def test_udp_services_are_balanced_with_and_without_a_sidecar(mesh: Mesh) -> None:
    for pod in ("client", "bare"):
        answers = talk(mesh, pod, "names", 5353, kind="udp", times=40)
        assert len({answer.split()[0] for answer in answers}) == 2
        assert {answer.split()[1] for answer in answers} == {mesh.address(pod)}, "the server sees who asks"


def test_affinity_holds_for_calls_past_the_proxy(mesh: Mesh) -> None:
    assert len({answer.split()[0] for answer in talk(mesh, "client", "sticky", 3306, times=20)}) == 1


def test_a_service_that_nobody_serves_refuses_at_once(mesh: Mesh) -> None:
    for pod in ("client", "bare"):
        assert "Connection refused" in talk(mesh, pod, "nobody", 3306)[0]


def test_the_client_chooses_the_address_with_passthrough(mesh: Mesh) -> None:
    assert mesh.curl("client", "http://through/").stdout.startswith("shop-")
    mesh.logged("client", "through", lambda entry: entry.upstream_cluster.startswith("outbound|80||through."))


def test_http_1_0_is_routed_like_1_1(mesh: Mesh) -> None:
    assert mesh.status_code("client", "http://shop/old", "-0") == "200"
    entry = mesh.logged("client", "/old", lambda entry: entry.path == "/old")
    assert (entry.protocol, entry.upstream_cluster) == ("HTTP/1.0", "outbound|80||shop.default.svc.cluster.local")


def test_http_1_0_without_a_host_goes_where_it_was_sent(mesh: Mesh) -> None:
    assert talk(mesh, "client", "raw", 80, "GET / HTTP/1.0\r\n\r")[0] == "HTTP/1.0 200 OK"


def test_bytes_that_are_no_http_reach_an_app_without_a_sidecar_and_are_answered_by_one(mesh: Mesh) -> None:
    (answer,) = talk(mesh, "client", "raw", 80, "no HTTP at all")
    assert answer.endswith("no HTTP at all")
    assert talk(mesh, "client", "shop", 80, "no HTTP at all\r\n\r")[0] == "HTTP/1.1 400 Bad Request"


def test_http_on_a_port_that_every_envoy_has_itself_is_routed(mesh: Mesh) -> None:
    assert mesh.curl("client", "http://raw:15090/").stdout.startswith("raw ")
    mesh.logged("client", "raw:15090", lambda entry: entry.upstream_cluster.startswith("outbound|15090||raw."))


def test_a_pod_that_leaves_is_called_no_more(mesh: Mesh) -> None:
    """From the moment on at which it is told to end: of calls that are made all the time none fails."""
    mesh.call("scale", "deploy/shop", "--replicas", "1")
    try:
        answers = talk(mesh, "bare", "shop", 3306, times=500) + talk(mesh, "bare", "names", 5353, kind="udp", times=500)
        assert len(answers) == 1000
        wait_until("one replica is left", lambda: len(mesh.pods("shop")) == 1)
        (left,) = (pod["name"] for pod in mesh.pods("shop"))
        assert {answer.split()[0] for answer in talk(mesh, "bare", "shop", 3306, times=20)} == {left}
    finally:
        mesh.call("scale", "deploy/shop", "--replicas", "2")


def test_hosts_of_service_entries_without_addresses_resolve_and_are_told_apart(mesh: Mesh) -> None:
    assert mesh.curl("client", "http://web.example.com").stdout.startswith("shop-")
    assert (
        mesh.curl("client", "http://WEB.example.com.", "-w", " %{remote_ip}").stdout.split()[-1].startswith("240.240.")
    )
    if any(":" in address for address in mesh.pods("client")[0]["addresses"]):
        assert mesh.curl("client", "http://web.example.com", "-6").stdout.startswith("shop-")
    assert talk(mesh, "client", "one.example.com", 5432)[0].startswith("shop-")
    assert talk(mesh, "client", "two.example.com", 5432)[0].startswith("raw ")
