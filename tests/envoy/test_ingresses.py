"""Ingresses as clients of the gateway see them: which paths lead where, and what leads nowhere, as with Istio."""

from __future__ import annotations

import pytest

from pilotfish.model import Proxy
from pilotfish.model.proxy import ProxyType
from tests.envoy.conftest import PEER4, POD4, LiveEnvoy, Start

INGRESSES = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: shop, namespace: vm}
spec:
  ingressClassName: istio
  defaultBackend: {service: {name: fallback, port: {number: 80}}}
  rules:
  - host: shop.example.com
    http:
      paths:
      - {path: /cart, pathType: Prefix, backend: {service: {name: cart, port: {name: http}}}}
      - {path: /cart, pathType: Exact, backend: {service: {name: shop, port: {number: 80}}}}
      - {path: /old.*, pathType: ImplementationSpecific, backend: {service: {name: shop, port: {number: 80}}}}
  - host: empty.example.com
  - http:
      paths: [{path: /any, pathType: Exact, backend: {service: {name: cart, port: {number: 80}}}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: whole, namespace: vm}
spec:
  ingressClassName: istio
  rules:
  - host: whole.example.com
    http: {paths: [{path: /*, pathType: ImplementationSpecific, backend: {service: {name: shop, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: alone, namespace: vm}
spec: {ingressClassName: istio, defaultBackend: {resource: {kind: Bucket, name: x}}}
"""
SERVICES = "".join(
    f"""
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: vm}}
spec: {{clusterIP: {address}, ports: [{{name: http, port: 80}}]}}
---
apiVersion: v1
kind: Endpoints
metadata: {{name: {name}, namespace: vm}}
subsets: [{{addresses: [{{ip: {PEER4}}}], ports: [{{name: http, port: {port}}}]}}]
"""
    for name, port, address in (
        ("shop", 9001, "10.96.0.1"),
        ("cart", 9002, "10.96.0.2"),
        ("fallback", 9003, "10.96.0.3"),
    )
)
GATEWAY = Proxy.of_pod("edge-0", "istio-system", (POD4,), labels={"istio": "ingressgateway"}, type=ProxyType.ROUTER)
NOWHERE = "404 Not Found"


@pytest.fixture
def gateway(start: Start) -> LiveEnvoy:
    live = start(INGRESSES + SERVICES, proxy=GATEWAY, problems={"UnsupportedField"})
    for name, port in (("shop", 9001), ("cart", 9002), ("fallback", 9003)):
        live.start_app(live.peer, PEER4, port, name)
    return live


def test_which_paths_lead_where(gateway: LiveEnvoy) -> None:
    for host, path, expected in (
        ("shop.example.com", "/cart", "shop GET"),
        ("shop.example.com", "/cart/1", "cart GET"),
        ("shop.example.com", "/carton", NOWHERE),
        ("shop.example.com", "/older", "shop GET"),
        ("shop.example.com", "/any", NOWHERE),
        ("empty.example.com", "/", NOWHERE),
        ("empty.example.com", "/any", "cart GET"),
        ("nobody.example.com", "/any", "cart GET"),
        ("nobody.example.com", "/", NOWHERE),
        ("whole.example.com", "/", "shop GET"),
        ("whole.example.com", "/a", "shop GET"),
    ):
        assert expected in gateway.request(gateway.peer, POD4, 80, host, path), (host, path)
