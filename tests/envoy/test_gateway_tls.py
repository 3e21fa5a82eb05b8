"""TLS at a gateway as its clients see it: who is shown, who must show what, and who gets whom without it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256

from tests.certificates import issue, key_pin, revoke, secret
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
      tls: {{mode: SIMPLE, {a}, maxProtocolVersion: TLSV1_2, cipherSuites: [ECDHE-ECDSA-AES256-GCM-SHA384],
        ecdhCurves: [P-256]}}}}
  - {{port: {{number: 8447, name: curves, protocol: HTTPS}}, hosts: [curves.example.com],
      tls: {{mode: SIMPLE, {a}, ecdhCurves: [P-384]}}}}
  - {{port: {{number: 8447, name: v1, protocol: HTTPS}}, hosts: [v1.example.com],
      tls: {{mode: SIMPLE, {a}, minProtocolVersion: TLSV1_1, cipherSuites: [ECDHE-ECDSA-AES128-SHA],
        alpnProtocols: [http/1.1]}}}}
  - {{port: {{number: 8447, name: two, protocol: HTTPS}}, hosts: [two.example.com],
      tls: {{mode: SIMPLE, tlsCertificates: [{{{w}}}]}}}}
  - {{port: {{number: 8448, name: auto, protocol: TLS}}, hosts: ["*.shop.svc.cluster.local"],
      tls: {{mode: AUTO_PASSTHROUGH}}}}
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
def folder() -> Iterator[Path]:
    """NAME.pem and NAME.key of servers and clients, ca.pem who issued them, crl.pem that `you` is no longer good."""
    ca, stranger = issue("ca"), issue("stranger")
    issued = {
        "ca": ca,
        "a": issue("a", ca, "a.example.com"),
        "wild": issue("wild", ca, "*.example.com"),
        "server": issue("server", ca, "app.example.com"),
        "me": issue("me", ca, "me"),
        "you": issue("you", ca, "you"),
        "other": issue("other", stranger, "other"),
    }
    with TemporaryDirectory() as made:
        folder = Path(made)
        for name, each in issued.items():
            (folder / f"{name}.pem").write_text(each.pem)
            (folder / f"{name}.key").write_text(each.key)
        (folder / "crl.pem").write_text(revoke(ca, issued["you"]))
        me = issued["me"].certificate
        (folder / "me.hash").write_text(me.fingerprint(SHA256()).hex())
        (folder / "me.spki").write_text(key_pin(issued["me"]))
        for path in (folder, *folder.iterdir()):
            path.chmod(0o755)  # Envoy is another user.
        yield folder


def _pair(folder: Path, name: str) -> str:
    return f"serverCertificate: {folder}/{name}.pem, privateKey: {folder}/{name}.key"


@pytest.fixture
def edge(start: Start, folder: Path) -> LiveEnvoy:
    text = GATEWAY.format(
        a=_pair(folder, "a"),
        w=_pair(folder, "wild"),
        ca=f"caCertificates: {folder}/ca.pem",
        spki=(folder / "me.spki").read_text(),
        hash=(folder / "me.hash").read_text(),
        folder=folder,
    )
    live = start(SERVICES + text, proxy=EDGE)
    _start_apps(live)
    start_wire(live, PEER4, 9443, "secure", folder)
    return live


def _start_apps(live: LiveEnvoy) -> None:
    live.start_app(live.peer, PEER4, 9001, "a")
    live.start_app(live.peer, PEER4, 9002, "b")


def test_what_clients_see(edge: LiveEnvoy, folder: Path) -> None:
    def ask(
        host: str,
        port: int = 8443,
        shown: str = "",
        path: str = "/",
        alpn: tuple[str, ...] = (),
        highest: str = "",
        curve: str = "",
    ) -> Seen:
        sent = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Show: 1\r\nConnection: close\r\n\r\n"
        pair = folder / shown if shown else None
        trusted = folder / "ca.pem"
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
            curve=curve,
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
    assert "404" in _asked_for_another(edge, folder), "a server answers for its own hosts alone"
    assert "location: https://a.example.com:8443/there" in ask("a.example.com", path="/moved").answer
    passed = ask("app.example.com")
    assert passed.certificate == "server", "the app itself is shown"
    assert '"secure"' in passed.answer
    assert ask("outbound_.443_._.secure.shop.svc.cluster.local", 8448).certificate == "server", "the name says whose"
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
    assert "200 OK" in ask("curves.example.com", 8447, curve="secp384r1").answer
    assert answers(ask("curves.example.com", 8447, curve="prime256v1")) == "refused"
    second = ask("v2.example.com", 8447)
    assert (second.version, second.cipher) == ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384")
    first = ask("v1.example.com", 8447, highest="TLSv1_1", alpn=("h2", "http/1.1"))
    assert (first.version, first.alpn) == ("TLSv1.1", "http/1.1")
    assert answers(ask("a.example.com", highest="TLSv1_1")) == "refused", "TLS 1.2 is the least, unless said otherwise"
    assert ask("two.example.com", 8447).certificate == "wild"


def _asked_for_another(live: LiveEnvoy, folder: Path) -> str:
    """By the server name of one server, for the host of another."""
    sent = "GET / HTTP/1.1\r\nHost: x.example.com\r\nConnection: close\r\n\r\n"
    seen = call_tls(live.peer, POD4, 8443, sent, server_name="a.example.com", trusted=folder / "ca.pem")
    return seen.answer


SECRETS = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: shop}
spec:
  selector: {istio: edge}
  servers:
  - {port: {number: 8443, name: a, protocol: HTTPS}, hosts: [a.example.com], tls: {mode: SIMPLE, credentialName: shop}}
  - {port: {number: 8443, name: m, protocol: HTTPS}, hosts: [m.example.com], tls: {mode: MUTUAL, credentialName: both}}
  - {port: {number: 8443, name: o, protocol: HTTPS}, hosts: [o.example.com],
      tls: {mode: OPTIONAL_MUTUAL, credentialName: shop, caCertCredentialName: ca}}
  - {port: {number: 8443, name: p, protocol: HTTPS}, hosts: [p.example.com],
      tls: {mode: MUTUAL, credentialName: both, caCertCredentialName: "configmap://shop/strangers"}}
  - {port: {number: 8443, name: g, protocol: HTTPS}, hosts: [gone.example.com],
      tls: {mode: MUTUAL, credentialName: gone}}
  - {port: {number: 8443, name: w, protocol: HTTPS}, hosts: ["*.example.com"],
      tls: {mode: SIMPLE, credentialNames: [wild]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: requests, namespace: shop}
spec: {hosts: ["*.example.com"], gateways: [edge], http: [{route: [{destination: {host: a}}]}]}
---
"""


def test_certificates_come_from_secrets_of_the_gateways_own_namespace(start: Start, folder: Path) -> None:
    ca, stranger = issue("ca"), issue("stranger")
    shop, wild, me, other = issue("shop", ca), issue("wild", ca), issue("me", ca), issue("other", stranger)
    text = SECRETS + "".join(
        (
            secret("shop", "edge", tls_crt=shop.pem, tls_key=shop.key),
            secret("shop", "shop", tls_crt=wild.pem, tls_key=wild.key),
            secret("both", "edge", tls_crt=shop.pem, tls_key=shop.key, ca_crt=ca.pem),
            secret("ca", "edge", ca_crt=ca.pem),
            secret("wild", "edge", tls_crt=wild.pem, tls_key=wild.key),
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": "strangers", "namespace": "shop"},
                    "data": {"ca.crt": stranger.pem},
                }
            ),
        )
    )
    (folder / "issuer.pem").write_text(ca.pem)
    for name, each in (("me", me), ("other", other)):
        (folder / f"{name}.pem").write_text(each.pem)
        (folder / f"{name}.key").write_text(each.key)
    live = start(SERVICES + text, proxy=EDGE)
    _start_apps(live)

    def shown(name: str, who: str = "") -> str:
        host = f"{name}.example.com"
        sent = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        pair = folder / who if who else None
        seen = call_tls(live.peer, POD4, 8443, sent, server_name=host, trusted=folder / "issuer.pem", shown=pair)
        return seen.certificate if "200 OK" in seen.answer else "refused"

    assert shown("a") == "shop"
    assert shown("x") == "wild"
    assert [shown("m", who) for who in ("", "me", "other")] == ["refused", "shop", "refused"]
    assert [shown("o", who) for who in ("", "me", "other")] == ["shop", "shop", "refused"]
    assert [shown("p", who) for who in ("", "me", "other")] == ["refused", "refused", "shop"]
    assert shown("gone", "me") == "refused", "no other server, which asks for less, takes its clients"


TWO = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: shop}}
spec:
  selector: {{istio: edge}}
  servers:
  - port: {{number: 8443, name: a, protocol: HTTPS}}
    name: front-door
    hosts: ["*"]
    tls:
      mode: SIMPLE
      tlsCertificates:
      - {{serverCertificate: {folder}/rsa.pem, privateKey: {folder}/rsa.key}}
      - {{serverCertificate: {folder}/ecdsa.pem, privateKey: {folder}/ecdsa.key}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: requests, namespace: shop}}
spec: {{hosts: ["*"], gateways: [edge], http: [{{directResponse: {{status: 204}}}}]}}
"""


def test_clients_are_shown_the_certificate_that_they_can_read(start: Start, folder: Path) -> None:
    """And a server's name heads its statistics."""
    issued = {"rsa": issue("rsa", key=rsa.generate_private_key(65537, 2048)), "ecdsa": issue("ecdsa")}
    for name, each in issued.items():
        for file, text in ((f"{name}.pem", each.pem), (f"{name}.key", each.key)):
            (folder / file).write_text(text)
    live = start(SERVICES + TWO.format(folder=folder), proxy=EDGE)

    def shown(kind: str) -> str:
        suite = ("--tls-max", "1.2", "--ciphers", f"ECDHE-{kind}-AES128-GCM-SHA256")
        command = ["ip", "netns", "exec", live.peer, "curl", "-skv", "-m", "5", *suite, f"https://{POD4}:8443/"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        return next(line for line in said.splitlines() if "subject:" in line).rpartition("CN=")[2]

    assert {kind: shown(kind) for kind in ("RSA", "ECDSA")} == {"RSA": "rsa", "ECDSA": "ecdsa"}
    assert "http.front-door;.downstream_cx_active" in live.get("/stats?filter=downstream_cx_active")
