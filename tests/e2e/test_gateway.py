"""A gateway is simply there: the mesh runs what Gateways select, and opens its ports on the host's loopback."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import issue, secret
from tests.e2e.harness import MakeMesh, Mesh, running_mesh
from tests.envoy.http3_calls import call_http3
from tests.waiting import wait_until

APP = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""
SHOP = f"""
apiVersion: v1
kind: Service
metadata: {{name: shop}}
spec: {{selector: {{app: shop}}, ports: [{{name: http, port: 8000}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: shop, labels: {{app: shop}}}}
spec:
  containers:
  - name: web
    command: [python3, -c, {json.dumps(APP)}]
    readinessProbe: {{tcpSocket: {{port: 8000}}, periodSeconds: 1}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop}}
spec:
  hosts: [shop.example.com]
  gateways: [shop, other, edge/edge]
  http: [{{match: [{{uri: {{prefix: /cart}}}}], route: [{{destination: {{host: shop}}}}]}}]
"""
GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}]
"""
OTHER = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: other}
spec:
  selector: {app: istio-ingressgateway}
  servers:
  - {port: {number: 9000, name: http, protocol: HTTP}, hosts: [shop.example.com]}
  - port: {number: 443, name: https, protocol: HTTPS}
    hosts: [shop.example.com]
    tls: {mode: SIMPLE, credentialName: shop-credential}
"""
EDGE = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: edge, namespace: edge}
spec:
  selector: {matchLabels: {app: edge}}
  template:
    metadata: {labels: {app: edge}, annotations: {inject.istio.io/templates: gateway}}
    spec:
      volumes: [{name: certificates, secret: {secretName: shop-credential}}]
      containers:
      - name: istio-proxy
        image: auto
        ports: [{containerPort: 8080}]
        volumeMounts: [{name: certificates, mountPath: /etc/istio/certificates}]
---
apiVersion: v1
kind: Service
metadata: {name: edge, namespace: edge}
spec: {selector: {app: edge}, ports: [{name: http, port: 80, targetPort: 8080}, {name: https, port: 8443},
  {name: http3, port: 8443, protocol: UDP}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: edge}
spec:
  selector: {app: edge}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}
  - port: {number: 8443, name: https, protocol: HTTPS}
    hosts: [shop.example.com]
    tls:
      mode: SIMPLE
      serverCertificate: /etc/istio/certificates/tls.crt
      privateKey: /etc/istio/certificates/tls.key
"""
_NAMESPACES = ("istio-system", "edge")
INGRESS = "istio-ingressgateway.istio-system"
OLD_WAY = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: old-way}
spec:
  ingressClassName: istio
  rules:
  - host: old.example.com
    http: {paths: [{path: /cart, pathType: Prefix, backend: {service: {name: shop, port: {name: http}}}}]}
"""


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    texts = {"shop.yaml": SHOP, "gateway.yaml": GATEWAY, "other.yaml": OTHER, "edge.yaml": EDGE}
    issued = issue("shop.example.com", None, "shop.example.com")
    secrets = [secret("shop-credential", each, tls_crt=issued.pem, tls_key=issued.key) for each in _NAMESPACES]
    with make_mesh("e2e-gateway", {**texts, "secrets.yaml": "".join(secrets)}, "--publish", "0:edge.edge:80") as mesh:
        (mesh.sources / "ca.txt").write_text(issued.pem)
        yield mesh


def published(mesh: Mesh, target: str) -> dict[str, Any] | None:
    return next((each for each in mesh.status["published"] if each["target"] == target), None)


def tried(mesh: Mesh, target: str, host: str = "shop.example.com") -> str:
    """What the command prints that `status` shows for a host at a gateway's port; "" if it shows none."""
    found = published(mesh, target)
    line = next((each for each in found["trials"] if host in each), "") if found else ""
    if not line:
        return ""
    assert line in mesh.call("status", check=False).stdout
    done = subprocess.run(["curl", "-sS", "-m", "10", *shlex.split(line)[1:]], capture_output=True, text=True)
    return done.stdout + done.stderr


@pytest.mark.parametrize("target", [f"{INGRESS}:80", f"{INGRESS}:443", "edge.edge:80", "edge.edge:8443"])
def test_what_status_prints_reaches_the_app(mesh: Mesh, target: str) -> None:
    """Also by a gateway of the user's own whose Service leads to another port; with TLS of a Secret, or of files that
    its container mounts."""
    assert tried(mesh, target) == "/cart"


def test_what_a_service_has_for_udp_is_http3_on_the_host_too(mesh: Mesh, tmp_path: Path) -> None:
    host, _, port = (published(mesh, "edge.edge:8443") or {})["address"].rpartition(":")
    trusted = tmp_path / "ca.pem"
    trusted.write_text((mesh.sources / "ca.txt").read_text())
    found = call_http3("", host, int(port), "shop.example.com", "/cart", trusted=trusted)
    assert (found.status, found.body, found.certificate) == ("200", "/cart", "shop.example.com")
    assert found.headers["alt-svc"] == 'h3=":8443"; ma=86400'


def test_commands_show_the_gateway_as_what_it_is(mesh: Mesh) -> None:
    assert "istio-ingressgateway" in mesh.call("get", "deployments", "-n", "istio-system").stdout
    services = mesh.json("get", "services", "-n", "istio-system")["items"]
    assert [port["port"] for port in services[0]["spec"]["ports"]] == [80, 443, 9000]
    (pod,) = mesh.pods("istio-ingressgateway")
    assert [each["name"] for each in pod["containers"]] == ["istio-proxy"]
    proxy = next(each for each in mesh.status["proxies"] if each["pod"] == pod["name"])
    assert proxy["node_id"].startswith("router~")
    assert "0.0.0.0" in mesh.call("proxy-config", "listeners", f"{pod['name']}.istio-system").stdout
    assert not [each for each in mesh.status["problems"] if each["severity"] != "info"]


def test_a_killed_envoy_comes_back_and_who_asks_meanwhile_waits(mesh: Mesh) -> None:
    (pod,) = mesh.pods("istio-ingressgateway")

    def proxy() -> Any:
        return next(each for each in mesh.status["proxies"] if each["pod"] == pod["name"] and each["ready"])

    first = wait_until("the gateway serves", proxy)
    os.kill(first["pid"], signal.SIGKILL)
    assert tried(mesh, f"{INGRESS}:80") == "/cart"
    wait_until("another Envoy", lambda: proxy()["restarts"] == first["restarts"] + 1)


def test_an_ingress_is_served_by_the_same_gateway(mesh: Mesh) -> None:
    mesh.write("ingress.yaml", OLD_WAY)
    wait_until("it is served", lambda: tried(mesh, f"{INGRESS}:80", "old.example.com") == "/cart")
    assert "old-way" in mesh.call("get", "ingress").stdout
    address = (published(mesh, f"{INGRESS}:80") or {})["address"]

    def code(path: str) -> str:
        url = f"http://{address}{path}"
        asked = ("curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: old.example.com", url)
        return subprocess.run(asked, capture_output=True, text=True).stdout

    assert [code(path) for path in ("/cart/1", "/cart?a=b", "/cartwheel")] == ["200", "200", "404"]
    mesh.write("ingress.yaml", "")
    wait_until("it is gone", lambda: code("/cart") == "404")


def test_it_goes_with_the_last_gateway_and_comes_back_at_the_same_address(mesh: Mesh) -> None:
    before = published(mesh, f"{INGRESS}:80")
    assert before is not None
    mesh.write("gateway.yaml", "")
    wait_until("the port is closed", lambda: published(mesh, f"{INGRESS}:80") is None)
    assert mesh.pods("istio-ingressgateway"), "the other Gateway needs it"
    mesh.write("other.yaml", "")
    wait_until("the gateway is gone", lambda: not mesh.pods("istio-ingressgateway"))
    host, _, port = before["address"].rpartition(":")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), 5)
    mesh.write("other.yaml", OTHER)
    mesh.write("gateway.yaml", GATEWAY)
    wait_until("it serves again", lambda: published(mesh, f"{INGRESS}:80") and tried(mesh, f"{INGRESS}:80") == "/cart")
    assert published(mesh, f"{INGRESS}:80") == before


def test_a_port_that_is_taken_is_said_and_another_is_opened() -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        gateway = GATEWAY.replace("80", str(port))
        with running_mesh("e2e-gateway-taken", gateway) as mesh:
            found = published(mesh, f"{INGRESS}:{port}")
            assert found is not None
            assert found["address"] != f"127.0.0.1:{port}"
            assert found["trials"] == []
            log = (mesh.state / mesh.name / "node.log").read_text()
            assert f"as {port} of 127.0.0.1 is taken" in log
