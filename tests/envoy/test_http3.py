"""HTTP/3 at a gateway, beside HTTPS, as a client of QUIC sees it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pilotfish.explain.held import Held
from tests.certificates import issue, secret
from tests.envoy.conftest import EDGE, PEER4, POD4, POD6, Start
from tests.envoy.http3_calls import call_http3
from tests.envoy.test_gateways import SERVICES
from tests.envoy.tls_calls import call_tls

CA = issue("ca")
MESH = """
apiVersion: v1
kind: Service
metadata: {name: edge, namespace: edge}
spec:
  selector: {istio: edge}
  clusterIP: 10.96.9.9
  ports:
  - {name: https, port: 443, targetPort: 8443}
  - {name: http3, port: 443, targetPort: 8443, protocol: UDP}
  - {name: other, port: 444, targetPort: 8444}
---
apiVersion: v1
kind: Pod
metadata: {name: edge-0, namespace: edge, labels: {istio: edge}}
spec: {containers: [{name: app, command: [x]}]}
status: {podIP: 10.245.1.1}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {istio: edge}
  servers:
  - {port: {number: 443, name: a, protocol: HTTPS}, hosts: [a.example.com], tls: {mode: SIMPLE, credentialName: a}}
  - {port: {number: 443, name: b, protocol: HTTPS}, hosts: [b.example.com], tls: {mode: SIMPLE, credentialName: b}}
  - {port: {number: 443, name: m, protocol: HTTPS}, hosts: [m.example.com], tls: {mode: MUTUAL, credentialName: b}}
  - {port: {number: 444, name: o, protocol: HTTPS}, hosts: ["*"], tls: {mode: SIMPLE, credentialName: a}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: requests, namespace: shop}
spec:
  hosts: ["*.example.com"]
  gateways: [edge]
  http:
  - match: [{uri: {prefix: /moved}}]
    redirect: {uri: /there}
  - route: [{destination: {host: a}}]
---
"""


@pytest.fixture
def trusted() -> Iterator[Path]:
    with TemporaryDirectory() as made:
        path = Path(made) / "ca.pem"
        path.write_text(CA.pem)
        yield path


def test_https_is_http3_as_well_where_a_service_has_its_port_for_udp(start: Start, trusted: Path) -> None:
    issued = {name: issue(name, CA, f"{name}.example.com") for name in "ab"}
    secrets = (secret(n, "edge", tls_crt=each.pem, tls_key=each.key, ca_crt=CA.pem) for n, each in issued.items())
    live = start(SERVICES + MESH + "".join(secrets), proxy=EDGE)
    live.start_app(live.peer, PEER4, 9001, "a")
    for name, address in (("a", POD4), ("b", POD4), ("a", POD6)):
        host = f"{name}.example.com"
        found = call_http3(live.peer, address, 8443, host, trusted=trusted)
        assert (found.status, found.certificate, found.error) == ("200", name, ""), (
            "the server name decides who is shown"
        )
        assert found.body.startswith("a GET /")
        assert "x-forwarded-proto: https" in found.body
        assert found.headers["alt-svc"] == 'h3=":443"; ma=86400', "the port that clients call"
    moved = call_http3(live.peer, POD4, 8443, "a.example.com", "/moved", trusted=trusted)
    assert (moved.status, moved.headers["location"]) == ("301", "https://a.example.com/there")

    def told(host: str, port: int = 8443) -> str:
        sent = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        seen = call_tls(live.peer, POD4, port, sent, server_name=host, trusted=trusted)
        return next((line for line in seen.answer.splitlines() if line.startswith("alt-svc")), "")

    assert told("a.example.com") == 'alt-svc: h3=":443"; ma=86400', "who comes by TCP is told"
    assert told("a.example.com", 8444) == "", "no Service has that port for UDP"
    listening = Held.of_resources(live.ads.resources).listener("0.0.0.0", 8443)
    assert listening is not None
    assert listening.name == "0.0.0.0_8443", "explain follows connections of TCP"
    for port, host in ((8443, "m.example.com"), (8444, "a.example.com")):
        assert call_http3(live.peer, POD4, port, host, trusted=trusted, within=2).status == ""


DENIED = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed, namespace: edge}
spec:
  selector: {matchLabels: {istio: edge}}
  action: DENY
  rules: [{to: [{operation: {paths: [/closed], ports: ["8443"]}}]}]
"""


def test_what_policies_refuse_they_refuse_by_http3_too(start: Start, trusted: Path) -> None:
    issued = {name: issue(name, CA, f"{name}.example.com") for name in "ab"}
    secrets = "---\n".join(
        secret(n, "edge", tls_crt=each.pem, tls_key=each.key, ca_crt=CA.pem) for n, each in issued.items()
    )
    live = start(SERVICES + MESH + secrets + DENIED, proxy=EDGE)
    live.start_app(live.peer, PEER4, 9001, "a")
    for path, status in (("/open", "200"), ("/closed", "403"), ("/x/../closed", "403")):
        found = call_http3(live.peer, POD4, 8443, "a.example.com", path, trusted=trusted)
        assert (found.status, found.error) == (status, ""), path
