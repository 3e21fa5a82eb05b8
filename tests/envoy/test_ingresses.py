"""Ingresses as clients of the gateway see them: which paths lead where, and what leads nowhere, as with Istio."""

from __future__ import annotations

from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest

from pilotfish.model import Proxy
from pilotfish.model.proxy import ProxyType
from tests.certificates import issue, secret
from tests.envoy.conftest import PEER4, POD4, LiveEnvoy, Start
from tests.envoy.tls_calls import call_tls

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


CLASSES = """
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: ours}
spec: {controller: istio.io/ingress-controller}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: theirs}
spec: {controller: example.com/controller}
"""
MESH = """
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data: {{mesh: "{config}"}}
"""
OF_CLASS = """
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, namespace: vm}}
spec:
  {said}
  rules:
  - host: {name}.example.com
    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: shop, port: {{number: 80}}}}}}}}]}}
"""
SAID = {
    "none": "",
    **{name: f"ingressClassName: {name}" for name in ("istio", "ours", "theirs", "mine")},
}
SERVED = {
    "": {"istio", "ours"},
    "ingressControllerMode: STRICT": {"istio", "ours"},
    "ingressControllerMode: DEFAULT": {"istio", "ours", "none"},
    "ingressControllerMode: 'OFF'": set(),
    "ingressClass: mine": {"mine", "ours"},
    "ingressSelector: another": set(),
}
"""By meshConfig, the Ingresses that this gateway serves, by their class."""


def test_which_ingresses_are_served(start: Start) -> None:
    def mesh(config: str) -> str:
        ingresses = (OF_CLASS.format(name=name, said=said) for name, said in SAID.items())
        return MESH.format(config=config) + "".join((SERVICES, CLASSES, *ingresses))

    live = start(mesh(""), proxy=GATEWAY)
    live.start_app(live.peer, PEER4, 9001, "shop")
    found = {}
    for config in SERVED:
        live.update(mesh(config), GATEWAY)
        found[config] = {
            name for name in SAID if "shop GET" in live.request(live.peer, POD4, 80, f"{name}.example.com")
        }
    assert found == SERVED


SECURE = """
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: secure, namespace: vm}
spec:
  ingressClassName: istio
  tls: [{hosts: [secure.example.com], secretName: secure}]
  rules:
  - http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}]}
---
"""


def test_tls_ends_at_the_gateway(start: Start) -> None:
    ca = issue("ca")
    served = issue("secure", ca, "secure.example.com")
    certificate = secret("secure", "istio-system", tls_crt=served.pem, tls_key=served.key)
    live = start(SERVICES + SECURE + certificate, proxy=GATEWAY)
    live.start_app(live.peer, PEER4, 9001, "shop")
    sent = "GET / HTTP/1.1\r\nHost: secure.example.com\r\nConnection: close\r\n\r\n"
    with NamedTemporaryFile("w") as trusted:
        trusted.write(ca.pem)
        trusted.flush()
        seen = {
            name: call_tls(live.peer, POD4, 443, sent, server_name=name, trusted=Path(trusted.name))
            for name in ("secure.example.com", "other.example.com")
        }
    assert "shop GET" in seen["secure.example.com"].answer
    assert seen["secure.example.com"].certificate == "secure"
    assert "shop GET" not in seen["other.example.com"].answer
    assert "shop GET" in live.request(live.peer, POD4, 80, "other.example.com"), "without TLS, for every host"
