"""TLS at a gateway as its clients see it: who is shown, who must show what, and who gets whom without it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.envoy.certificates import Authority, authorities, open_to_envoy
from tests.envoy.conftest import EDGE, PEER4, POD4, LiveEnvoy, Start
from tests.envoy.test_gateways import SERVICES
from tests.envoy.tls_calls import Seen, call_tls
from tests.envoy.wire import start_wire

GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: shop}}
spec:
  selector: {{istio: edge}}
  servers:
  - {{port: {{number: 8443, name: a, protocol: HTTPS}}, hosts: [a.example.com], tls: {{mode: SIMPLE, {a}}}}}
  - {{port: {{number: 8443, name: w, protocol: HTTPS}}, hosts: ["*.example.com"], tls: {{mode: SIMPLE, {w}}}}}
  - {{port: {{number: 8443, name: p, protocol: TLS}}, hosts: [app.example.com], tls: {{mode: PASSTHROUGH}}}}
  - {{port: {{number: 8443, name: t, protocol: TLS}}, hosts: [tcp.example.com], tls: {{mode: SIMPLE, {a}}}}}
  - {{port: {{number: 8444, name: m, protocol: HTTPS}}, hosts: ["*"], tls: {{mode: MUTUAL, {a}, {ca}}}}}
  - {{port: {{number: 8445, name: o, protocol: HTTPS}}, hosts: ["*"], tls: {{mode: OPTIONAL_MUTUAL, {a}, {ca}}}}}
  - {{port: {{number: 8446, name: s, protocol: HTTPS}}, hosts: [san.example.com],
      tls: {{mode: MUTUAL, {a}, {ca}, subjectAltNames: [me]}}}}
  - {{port: {{number: 8446, name: k, protocol: HTTPS}}, hosts: [spki.example.com],
      tls: {{mode: MUTUAL, {a}, {ca}, verifyCertificateSpki: ["{spki}"]}}}}
  - {{port: {{number: 8446, name: h, protocol: HTTPS}}, hosts: [hash.example.com],
      tls: {{mode: MUTUAL, {a}, {ca}, verifyCertificateHash: ["{hash}"]}}}}
  - {{port: {{number: 8446, name: c, protocol: HTTPS}}, hosts: [crl.example.com],
      tls: {{mode: MUTUAL, {a}, {ca}, caCrl: {folder}/crl.pem}}}}
  - {{port: {{number: 8446, name: i, protocol: HTTPS}}, hosts: [any.example.com],
      tls: {{mode: MUTUAL, {a}, {ca}, insecureSkipVerify: true}}}}
  - {{port: {{number: 8447, name: v3, protocol: HTTPS}}, hosts: [v3.example.com],
      tls: {{mode: SIMPLE, {a}, minProtocolVersion: TLSV1_3}}}}
  - {{port: {{number: 8447, name: v2, protocol: HTTPS}}, hosts: [v2.example.com],
      tls: {{mode: SIMPLE, {a}, maxProtocolVersion: TLSV1_2, cipherSuites: [ECDHE-RSA-AES256-GCM-SHA384],
        ecdhCurves: [P-256]}}}}
  - {{port: {{number: 8447, name: v1, protocol: HTTPS}}, hosts: [v1.example.com],
      tls: {{mode: SIMPLE, {a}, minProtocolVersion: TLSV1_1, alpnProtocols: [http/1.1]}}}}
  - {{port: {{number: 8447, name: two, protocol: HTTPS}}, hosts: [two.example.com],
      tls: {{mode: SIMPLE, tlsCertificates: [{{{w}}}]}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: requests, namespace: shop}}
spec:
  hosts: ["*.example.com"]
  gateways: [edge]
  http:
  - match: [{{uri: {{prefix: /moved}}}}]
    redirect: {{uri: /there, derivePort: FROM_REQUEST_PORT}}
  - route: [{{destination: {{host: a}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: passed, namespace: shop}}
spec:
  hosts: [app.example.com, tcp.example.com]
  gateways: [edge]
  tls:
  - match: [{{port: 8443, sniHosts: [app.example.com]}}]
    route: [{{destination: {{host: secure.shop.svc.cluster.local}}}}]
  tcp:
  - match: [{{port: 1}}, {{gateways: [mesh]}}]
    route: [{{destination: {{host: a}}}}]
  - match: [{{gateways: [edge]}}]
    route: [{{destination: {{host: b}}}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: secure, namespace: shop}}
spec:
  hosts: [secure.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 443, name: tls, protocol: TLS, targetPort: 9443}}]
  endpoints: [{{address: 10.245.1.2}}]
"""


@pytest.fixture
def certificates() -> Iterator[tuple[Authority, Authority]]:
    with authorities("ca", "stranger") as (ca, stranger):
        ca.issue("a", "a.example.com")
        ca.issue("wild", "*.example.com")
        ca.issue("server", "app.example.com")
        ca.issue("me")
        ca.issue("you")
        stranger.issue("other")
        ca.revoke("you")
        open_to_envoy(ca.folder)
        yield ca, stranger


def _pair(ca: Authority, name: str) -> str:
    return f"serverCertificate: {ca.folder}/{name}.pem, privateKey: {ca.folder}/{name}.key"


@pytest.fixture
def edge(start: Start, certificates: tuple[Authority, Authority]) -> LiveEnvoy:
    ca, _ = certificates
    text = GATEWAY.format(
        a=_pair(ca, "a"),
        w=_pair(ca, "wild"),
        ca=f"caCertificates: {ca.folder}/ca.pem",
        spki=ca.key_pin("me"),
        hash=ca.fingerprint("me"),
        folder=ca.folder,
    )
    live = start(SERVICES + text, proxy=EDGE)
    live.start_app(live.peer, PEER4, 9001, "a")
    live.start_app(live.peer, PEER4, 9002, "b")
    start_wire(live, PEER4, 9443, "secure", ca.folder)
    return live


def test_what_clients_see(edge: LiveEnvoy, certificates: tuple[Authority, Authority]) -> None:
    ca, _ = certificates

    def ask(
        host: str, port: int = 8443, shown: str = "", path: str = "/", alpn: tuple[str, ...] = (), highest: str = ""
    ) -> Seen:
        sent = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Show: 1\r\nConnection: close\r\n\r\n"
        pair = ca.folder / shown if shown else None
        trusted = ca.folder / "ca.pem"
        return call_tls(
            edge.peer,
            POD4,
            port,
            sent,
            server_name=host,
            trusted=trusted,
            shown=pair,
            alpn=alpn,
            highest=highest,
        )

    def answers(seen: Seen) -> str:
        return "refused" if seen.answer.startswith("ERROR") or not seen.answer else seen.answer.partition("\r\n")[0]

    by_name = ask("a.example.com", alpn=("h2", "http/1.1"))
    assert (by_name.certificate, by_name.alpn) == ("a", "h2"), "the narrowest server name decides who is shown"
    plain = ask("a.example.com")
    assert "a GET /" in plain.answer
    assert "x-forwarded-proto: https" in plain.answer
    wild = ask("x.example.com")
    assert (wild.certificate, "a GET /" in wild.answer) == ("wild", True)
    assert answers(ask("x.example.org")) == "refused", "no chain is for the name"
    assert "404" in _asked_for_another(edge, ca), "a server answers for its own hosts alone"
    assert "location: https://a.example.com:8443/there" in ask("a.example.com", path="/moved").answer
    passed = ask("app.example.com")
    assert passed.certificate == "server", "the app itself is shown"
    assert '"secure"' in passed.answer
    tcp = ask("tcp.example.com", alpn=("h2", "http/1.1"))
    assert (tcp.certificate, tcp.alpn, "b GET /" in tcp.answer) == ("a", "", True), "the app is sent what was in TLS"

    assert {who: answers(ask("any.example.com", 8444, who)) for who in ("", "me", "other")} == {
        "": "refused",
        "me": "HTTP/1.1 200 OK",
        "other": "refused",
    }
    mutual = ask("any.example.com", 8444, "me").answer
    assert "x-forwarded-client-cert: hash=" in mutual.lower()
    assert 'subject="cn=me"' in mutual.lower()
    assert {who: answers(ask("any.example.com", 8445, who)) for who in ("", "me", "other")} == {
        "": "HTTP/1.1 200 OK",
        "me": "HTTP/1.1 200 OK",
        "other": "refused",
    }
    taken = {
        host: [who for who in ("me", "you", "other") if "200" in answers(ask(f"{host}.example.com", 8446, who))]
        for host in ("san", "spki", "hash", "crl", "any")
    }
    assert taken == {"san": ["me"], "spki": ["me"], "hash": ["me"], "crl": ["me"], "any": ["me", "you", "other"]}

    assert ask("v3.example.com", 8447).version == "TLSv1.3"
    assert answers(ask("v3.example.com", 8447, highest="TLSv1_2")) == "refused"
    second = ask("v2.example.com", 8447)
    assert (second.version, second.cipher) == ("TLSv1.2", "ECDHE-RSA-AES256-GCM-SHA384")
    first = ask("v1.example.com", 8447, highest="TLSv1_1", alpn=("h2", "http/1.1"))
    assert (first.version, first.alpn) == ("TLSv1.1", "http/1.1")
    assert answers(ask("a.example.com", highest="TLSv1_1")) == "refused", "TLS 1.2 is the least, unless said otherwise"
    assert ask("two.example.com", 8447).certificate == "wild"


def _asked_for_another(live: LiveEnvoy, ca: Authority) -> str:
    """By the server name of one server, for the host of another."""
    sent = "GET / HTTP/1.1\r\nHost: x.example.com\r\nConnection: close\r\n\r\n"
    seen = call_tls(live.peer, POD4, 8443, sent, server_name="a.example.com", trusted=ca.folder / "ca.pem")
    return seen.answer
