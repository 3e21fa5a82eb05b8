"""Where policies hold: ports that no Service has, a Sidecar's ingress, gateways; and routes by a token's claims."""

from __future__ import annotations

from typing import Any, Final

from tests.envoy.conftest import EDGE, PEER4, POD4, LiveEnvoy, Start
from tests.envoy.test_authorization_attacks import ISSUER, KEY, jwks, token

POD: Final = """
apiVersion: v1
kind: Pod
metadata: {name: webapp-0, namespace: vm, labels: {app: webapp}}
spec: {containers: [{name: app, command: [x]}]}
status: {podIP: 10.245.1.1}
---
"""
POLICY: Final = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: some, namespace: vm}
spec:
  rules:
  - to: [{operation: {paths: [/open], ports: ["8080"]}}]
  - to: [{operation: {ports: ["9090"]}}]
"""


def get(live: LiveEnvoy, port: int, path: str = "/", *headers: str, host: str = "shop.example.com") -> str:
    """The status and what answers, or what there is instead."""
    lines = "".join(f"{each}\r\n" for each in (f"Host: {host}", "Connection: close", *headers))
    answer = live.call(live.peer, POD4, port, f"GET {path} HTTP/1.1\r\n{lines}\r\n").replace("\r\n", "\n")
    head, _, body = answer.partition("\n\n")
    return f"{head.split(' ')[1]} {body.split(' ')[0]}".strip() if head.startswith("HTTP/") else head[:5]


def test_ports_that_no_service_has(start: Start) -> None:
    live = start(POD + POLICY)
    for port in (8080, 9090, 7070):
        live.start_app(live.netns, POD4, port, f"app{port}")
    assert get(live, 8080, "/open") == "200 app8080"
    assert get(live, 8080, "/closed").startswith("403")
    assert get(live, 9090, "/any") == "200 app9090"
    assert get(live, 7070, "/open").startswith("403")
    assert live.call(live.peer, POD4, 7070, "no HTTP at all\r\n\r\n") in (
        "",
        "ERROR [Errno 104] Connection reset by peer\n",
    )
    assert live.call(live.peer, POD4, 9090, "no HTTP at all\r\n\r\n") != "", "the app says what it thinks of it"


SIDECAR: Final = """
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: webapp, namespace: vm}
spec:
  ingress:
  - {port: {number: 8080, protocol: HTTP, name: http}, defaultEndpoint: "127.0.0.1:7000"}
  - {port: {number: 9090, protocol: TCP, name: tcp}, defaultEndpoint: "127.0.0.1:7001"}
  - {port: {number: 9191, protocol: TCP, name: tcp-b}, defaultEndpoint: "127.0.0.1:7001"}
"""


def test_what_a_sidecar_takes_in(start: Start) -> None:
    live = start(POD + POLICY + SIDECAR)
    live.start_app(live.netns, "127.0.0.1", 7000, "http")
    live.start_app(live.netns, "127.0.0.1", 7001, "tcp")
    assert get(live, 8080, "/open") == "200 http"
    assert get(live, 8080, "/closed").startswith("403")
    assert get(live, 9090) == "200 tcp"
    assert not get(live, 9191).startswith("200")


GATEWAY: Final = f"""
apiVersion: v1
kind: Service
metadata: {{name: shop, namespace: vm}}
spec: {{clusterIP: 10.96.0.1, selector: {{app: shop}}, ports: [{{name: http, port: 80}}, {{name: tcp, port: 90}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: staff, namespace: vm}}
spec: {{clusterIP: 10.96.0.2, selector: {{app: shop}}, ports: [{{name: http, port: 80, targetPort: 81}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: shop-0, namespace: vm, labels: {{app: shop}}}}
spec: {{containers: [{{name: app, command: [x]}}]}}
status: {{podIP: {PEER4}}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: front, namespace: vm}}
spec:
  selector: {{istio: edge}}
  servers:
  - {{port: {{number: 8080, name: http, protocol: HTTP}}, hosts: ["*"]}}
  - {{port: {{number: 9090, name: tcp, protocol: TCP}}, hosts: ["*"]}}
  - {{port: {{number: 9191, name: tcp-b, protocol: TCP}}, hosts: ["*"]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop, namespace: vm}}
spec:
  hosts: ["*"]
  gateways: [front]
  http:
  - match: [{{headers: {{"@request.auth.claims.group": {{exact: staff}}}}}}]
    route: [{{destination: {{host: staff}}}}]
  - match:
    - {{withoutHeaders: {{"@request.auth.claims[plan][name]": {{regex: "gold|silver"}}}}, uri: {{prefix: /plan}}}}
    directResponse: {{status: 402}}
  - route: [{{destination: {{host: shop, port: {{number: 80}}}}}}]
  tcp:
  - route: [{{destination: {{host: shop, port: {{number: 90}}}}}}]
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens, namespace: edge}}
spec: {{jwtRules: [{{issuer: {ISSUER}, jwks: '{jwks(KEY)}'}}]}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: edge, namespace: edge}}
spec:
  rules:
  - to: [{{operation: {{paths: [/public, /missing]}}}}]
  - from: [{{source: {{requestPrincipals: ["{ISSUER}/*"]}}}}]
  - to: [{{operation: {{ports: ["9090"]}}}}]
"""


def test_a_gateway_lets_in_and_routes_by_claims(start: Start) -> None:
    live = start(GATEWAY, proxy=EDGE)
    for port, name in ((80, "shop"), (81, "staff"), (90, "tcp")):
        live.start_app(live.peer, PEER4, port, name)

    def bearer(**claims: Any) -> str:
        return f"Authorization: Bearer {token(**claims)}"

    assert get(live, 8080, "/public") == "200 shop"
    assert get(live, 8080, "/private").startswith("403")
    assert get(live, 8080, "/private", bearer()) == "200 shop"
    assert get(live, 8080, "/private", bearer(group="staff")) == "200 staff"
    assert get(live, 8080, "/private", bearer(group=["guests", "staff"])) == "200 staff", (
        "lists have each of their values"
    )
    assert get(live, 8080, "/private", bearer(group="guests")) == "200 shop"
    assert get(live, 8080, "/public", "@request.auth.claims.group: staff") in ("200 shop", "400 Bad")
    assert get(live, 8080, "/plan", bearer()).startswith("402")
    assert get(live, 8080, "/plan", bearer(plan={"name": "gold"})) == "200 shop"
    assert get(live, 9090) == "200 tcp"
    assert not get(live, 9191).startswith("200")
