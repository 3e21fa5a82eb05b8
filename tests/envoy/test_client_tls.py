"""TLS to a service as its server sees it, and what a client sees when one of the two is not to the other's liking."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.envoy.conftest import Start
from tests.envoy.wire import start_wire

SERVER, PORT = "10.245.1.2", 8443
NAMES = ("good", "alt", "mutual", "revoked", "stranger", "unread", "system", "byport", "tcp")
"""That stand in the server's certificate."""

SERVICE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: vm}}
spec:
  hosts: [{name}.example.com]
  addresses: [10.96.1.{index}]
  resolution: STATIC
  subjectAltNames: [{declared}]
  ports:
  - {{number: 80, name: a, protocol: {protocol}, targetPort: 8443}}
  - {{number: 81, name: b, protocol: {protocol}, targetPort: 8080}}
  endpoints: [{{address: 10.245.1.2}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: vm}}
spec: {{host: {name}.example.com, trafficPolicy: {policy}}}
---
"""

DECLARED = {"declared": "good.example.com", "misdeclared": "no.example.com"}
"""By the ServiceEntry itself."""
REFUSED = "503 Service Unavailable"
SEEN = {
    "good": ("{tls: {mode: SIMPLE, caCertificates: DIR/ca.pem}}", "good.example.com as nobody"),
    "alt": (
        "{tls: {mode: SIMPLE, caCertificates: DIR/ca.pem, sni: other, subjectAltNames: [other, good.example.com]}}",
        "other as nobody",
    ),
    "mutual": (
        "{tls: {mode: MUTUAL, caCertificates: DIR/ca.pem, clientCertificate: DIR/me.pem, privateKey: DIR/me.key}}",
        "mutual.example.com as me",
    ),
    "unchecked": ("{tls: {mode: SIMPLE, insecureSkipVerify: true}}", "unchecked.example.com as nobody"),
    "byport": (
        "{tls: {mode: DISABLE}, portLevelSettings:"
        " [{port: {number: 80}, tls: {mode: SIMPLE, caCertificates: DIR/ca.pem}}]}",
        "byport.example.com as nobody",
    ),
    "tcp": (
        "{tls: {mode: SIMPLE, caCertificates: DIR/ca.pem, sni: sent, subjectAltNames: [tcp.example.com]}}",
        "sent as nobody",
    ),
    "unknown": ("{tls: {mode: SIMPLE, caCertificates: DIR/ca.pem}}", REFUSED),
    "declared": ("{tls: {mode: SIMPLE, caCertificates: DIR/ca.pem}}", "declared.example.com as nobody"),
    "misdeclared": ("{tls: {mode: SIMPLE, caCertificates: DIR/ca.pem, sni: good.example.com}}", REFUSED),
    "wrongalt": ("{tls: {mode: SIMPLE, caCertificates: DIR/ca.pem, subjectAltNames: [no.example.com]}}", REFUSED),
    "stranger": ("{tls: {mode: SIMPLE, caCertificates: DIR/stranger.pem}}", REFUSED),
    "system": ("{tls: {mode: SIMPLE}}", REFUSED),
    "revoked": ("{tls: {mode: SIMPLE, caCertificates: DIR/ca.pem, caCrl: DIR/crl.pem}}", REFUSED),
    "unread": ("{tls: {mode: SIMPLE, caCertificates: DIR/missing.pem}}", REFUSED),  # nothing to trust
}


MESH = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "{verifyCertificateAtClient: false}"}
---
"""
LENIENT = {
    "system": ("{tls: {mode: SIMPLE}}", "system.example.com as nobody"),
    "unknown": ("{tls: {mode: SIMPLE, caCertificates: system}}", REFUSED),
    "good": ("{tls: {mode: SIMPLE, caCertificates: DIR/ca.pem}}", "good.example.com as nobody"),
    "stranger": ("{tls: {mode: SIMPLE, caCertificates: DIR/stranger.pem}}", REFUSED),
    "mutual": (
        "{tls: {mode: MUTUAL, clientCertificate: DIR/me.pem, privateKey: DIR/me.key, subjectAltNames: [other]}}",
        "mutual.example.com as me",
    ),
}
"""Where the mesh has no certificate looked at unless a rule says whom to trust."""


@pytest.fixture
def certificates() -> Iterator[Path]:
    """ca.pem with server.pem, me.pem and crl.pem, on which the server stands; and stranger.pem."""
    new = ("-newkey", "rsa:2048", "-nodes")
    with TemporaryDirectory() as name:
        folder = Path(name)
        for who in ("ca", "stranger"):
            files = ("-keyout", f"{who}.key", "-out", f"{who}.pem")
            _openssl(folder, "req", "-x509", *new, *files, "-subj", f"/CN={who}", "-days", "9")
        names = ",".join(f"DNS:{name}.example.com" for name in NAMES)
        (folder / "extensions").write_text(f"subjectAltName={names}\n")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "9", "-extfile", "extensions")
        for who in ("server", "me"):
            files = ("-keyout", f"{who}.key", "-out", f"{who}.csr")
            _openssl(folder, "req", "-new", *new, *files, "-subj", f"/CN={who}")
            _openssl(folder, "x509", "-req", "-in", f"{who}.csr", *signed, "-out", f"{who}.pem")
        (folder / "index").touch()
        (folder / "ca.cnf").write_text("[ca]\ndefault_ca=x\n[x]\ndatabase=index\ndefault_md=sha256\n")
        authority = ("-config", "ca.cnf", "-keyfile", "ca.key", "-cert", "ca.pem")
        _openssl(folder, "ca", *authority, "-revoke", "server.pem")
        _openssl(folder, "ca", *authority, "-gencrl", "-crldays", "9", "-out", "crl.pem")
        for path in (folder, *folder.iterdir()):
            path.chmod(0o755)  # Envoy is another user.
        yield folder


def _openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


def test_a_mesh_may_look_at_no_certificate_where_no_authority_is_named(start: Start, certificates: Path) -> None:
    text = MESH + "".join(
        SERVICE.format(
            name=name, index=index, declared="", protocol="HTTP", policy=policy.replace("DIR", str(certificates))
        )
        for index, (name, (policy, _)) in enumerate(LENIENT.items(), 1)
    )
    live = start(text)
    start_wire(live, SERVER, PORT, "secret", certificates)
    seen = {
        name: _seen(live.request(live.netns, f"10.96.1.{index}", 80, f"{name}.example.com"))
        for index, name in enumerate(LENIENT, 1)
    }
    assert seen == {name: expected for name, (_, expected) in LENIENT.items()}


def test_who_speaks_to_whom(start: Start, certificates: Path) -> None:
    text = "".join(
        SERVICE.format(
            name=name,
            index=index,
            declared=DECLARED.get(name, ""),
            protocol="TCP" if name == "tcp" else "HTTP",
            policy=policy.replace("DIR", str(certificates)),
        )
        for index, (name, (policy, _)) in enumerate(SEEN.items(), 1)
    )
    live = start(text)
    start_wire(live, SERVER, PORT, "secret", certificates)
    start_wire(live, SERVER, 8080, "plain")
    seen = {
        name: _seen(live.request(live.netns, f"10.96.1.{index}", 80, f"{name}.example.com"))
        for index, name in enumerate(SEEN, 1)
    }
    assert seen == {name: expected for name, (_, expected) in SEEN.items()}
    plain = 1 + list(SEEN).index("byport")
    assert '"plain"' in live.request(live.netns, f"10.96.1.{plain}", 81, "byport.example.com"), "a port of its own"
    assert live.files.unusable() == {
        f"{certificates}/missing.pem": f"{certificates}/missing.pem can't be read: No such file or directory"
    }


def _seen(answer: str) -> str:
    head, _, body = answer.partition("\n\n")
    if "200 OK" not in head:
        return head.partition("\n")[0].removeprefix("HTTP/1.1 ")
    told = json.loads(body)
    return f"{told['asked']} as {told['client'] or 'nobody'}"
