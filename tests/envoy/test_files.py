"""Certificates in files: a new one is shown to new connections and ends none, and one that lacks harms nobody else."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.certificates import Issued, issue
from tests.envoy.conftest import EDGE, PEER4, POD4, LiveEnvoy, Start
from tests.envoy.test_gateways import SERVICES
from tests.envoy.test_sidecar import sidecar
from tests.envoy.tls_calls import call_tls
from tests.envoy.wire import start_wire
from tests.waiting import wait_until

CA = issue("ca")


@pytest.fixture
def folder() -> Iterator[Path]:
    """With ca.pem; Envoy's user may read it."""
    with TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        (folder / "ca.pem").write_text(CA.pem)
        yield folder


def _write(folder: Path, issued: Issued, name: str = "tls") -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.crt").write_text(issued.pem)
    (folder / f"{name}.key").write_text(issued.key)


def _in_place(folder: Path, issued: Issued) -> None:
    """The link `now` is to another folder, or the file is written again."""
    _write(folder / "now", issued)


def _by_another_file(folder: Path, issued: Issued) -> None:
    _write(folder, issued, "new")
    for kind in ("crt", "key"):
        (folder / f"new.{kind}").replace(folder / "now" / f"tls.{kind}")


def _by_a_link(folder: Path, issued: Issued) -> None:
    """As Kubernetes replaces what is in a volume."""
    data = folder / issued.certificate.subject.rfc4514_string()
    _write(data, issued)
    (folder / "new").symlink_to(data.name)
    (folder / "new").replace(folder / "now")


WAYS: tuple[tuple[str, Callable[[Path, Issued], None]], ...] = (
    ("second", _in_place),
    ("third", _by_another_file),
    ("fourth", _by_a_link),
)


EDGE_MESH = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: edge, namespace: shop}}
spec:
  selector: {{istio: edge}}
  servers:
  - port: {{number: 8443, name: a, protocol: HTTPS}}
    hosts: [a.example.com]
    tls: {{mode: SIMPLE, serverCertificate: {folder}/now/tls.crt, privateKey: {folder}/now/tls.key}}
  - port: {{number: 8443, name: b, protocol: HTTPS}}
    hosts: [b.example.com]
    tls: {{mode: SIMPLE, serverCertificate: {folder}/later/tls.crt, privateKey: {folder}/later/tls.key}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: requests, namespace: shop}}
spec: {{hosts: ["*.example.com"], gateways: [edge], http: [{{route: [{{destination: {{host: a}}}}]}}]}}
"""


def _shown(live: LiveEnvoy, folder: Path, host: str = "a.example.com", path: str = "/") -> str:
    sent = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    seen = call_tls(live.peer, POD4, 8443, sent, server_name=host, trusted=folder / "ca.pem")
    return seen.certificate if "200 OK" in seen.answer else "closed"


def test_a_gateway_shows_what_stands_in_its_files_now(start: Start, folder: Path) -> None:
    (folder / "old").mkdir()
    _write(folder / "old", issue("first", CA))
    (folder / "now").symlink_to("old")
    live = start(SERVICES + EDGE_MESH.format(folder=folder), proxy=EDGE)
    live.start_app(live.peer, PEER4, 9001, "a")
    assert _shown(live, folder) == "first"
    assert _shown(live, folder, "b.example.com") == "closed", "no file, no other server's certificate"
    lacking = live.files.unusable()
    assert list(lacking) == [f"{folder}/later/tls.crt {folder}/later/tls.key"]
    assert f"{folder}/later/tls.key can't be read: No such file" in lacking.popitem()[1]
    with ThreadPoolExecutor() as pool:
        under_way = pool.submit(_shown, live, folder, path="/after/3")
        wait_until("the request is under way", lambda: "rq_active::1" in live.get("/clusters"))
        for name, replace in WAYS:
            replace(folder, issue(name, CA))
            wait_until(f"{name} is shown", lambda name=name: _shown(live, folder) == name)  # type: ignore[misc]
        assert under_way.result() == "first", "no connection ends"
    _write(folder / "later", issue("late", CA))
    wait_until("what comes later is shown", lambda: _shown(live, folder, "b.example.com") == "late")
    assert live.files.unusable() == {}
    (folder / "now" / "tls.key").write_text(issue("other").key)
    wait_until("what does not fit is told", live.files.unusable)
    ((paths, why),) = live.files.unusable().items()
    assert why == f"{folder}/now/tls.key is not the key of the certificate in {folder}/now/tls.crt"
    assert paths == f"{folder}/now/tls.crt {folder}/now/tls.key"
    assert _shown(live, folder) == "fourth", "what could be used is"


def test_a_missing_file_harms_only_its_own_port(start: Start, folder: Path) -> None:
    text = f"""
  ingress:
  - port: {{number: 8443, protocol: HTTPS}}
    defaultEndpoint: 127.0.0.1:8080
    tls: {{mode: SIMPLE, serverCertificate: {folder}/tls.crt, privateKey: {folder}/tls.key}}
  - port: {{number: 8444, protocol: HTTPS}}
    defaultEndpoint: 127.0.0.1:8080
    tls: {{mode: MUTUAL, serverCertificate: {folder}/zero.crt, privateKey: {folder}/zero.key,
      caCertificates: {folder}/none.pem}}
  - {{port: {{number: 8080, protocol: HTTP}}}}"""
    live = start(sidecar(text))
    live.start_app(live.netns, POD4, 8080, "app")
    live.start_app(live.netns, "127.0.0.1", 8080, "app")
    assert "app GET" in live.request(live.peer, POD4, 8080, "x")
    assert [_shown(live, folder, "x")] == ["closed"]
    assert len(live.files.unusable()) == 3
    _write_with_serial_0(folder)
    wait_until("the certificate is there", lambda: _shown(live, folder, "x") == "zero")
    missing = f"{folder}/none.pem"
    wait_until("nothing else lacks", lambda: list(live.files.unusable()) == [missing])


def _write_with_serial_0(folder: Path) -> None:
    """Which is none by RFC 5280, and there are many."""
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "tls.key", "-set_serial", "0")
    command = ("openssl", "req", "-x509", *new, "-out", "tls.crt", "-subj", "/CN=zero", "-days", "2")
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    for kind in ("crt", "key"):
        content = (folder / f"tls.{kind}").read_text()
        (folder / f"zero.{kind}").write_text(content)
        (folder / f"tls.{kind}").chmod(0o644)
        (folder / f"zero.{kind}").chmod(0o644)
    (folder / "ca.pem").write_text((folder / "tls.crt").read_text())


CLIENT = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: outside, namespace: vm}}
spec:
  hosts: [outside.example.com]
  addresses: [10.96.1.1]
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 9443}}]
  endpoints: [{{address: 10.245.1.2}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: outside, namespace: vm}}
spec:
  host: outside.example.com
  trafficPolicy:
    connectionPool: {{http: {{maxRequestsPerConnection: 1}}}}
    tls:
      mode: MUTUAL
      clientCertificate: {folder}/tls.crt
      privateKey: {folder}/tls.key
      caCertificates: {folder}/ca.pem
"""


def test_a_client_shows_what_stands_in_its_files_now(start: Start, folder: Path) -> None:
    server = folder / "server"
    _write(folder, issue("first", CA))
    server.mkdir()
    host = issue("host", CA, "outside.example.com")
    for name, text in (("server.pem", host.pem), ("server.key", host.key), ("ca.pem", CA.pem)):
        (server / name).write_text(text)
    live = start(CLIENT.format(folder=folder))
    start_wire(live, PEER4, 9443, "outside", server)

    def seen() -> str:
        return live.request(live.netns, "10.96.1.1", 80, "outside.example.com")

    assert '"client": "first"' in seen()
    _write(folder, issue("second", CA))
    wait_until("the new one is shown", lambda: '"client": "second"' in seen())
    (folder / "tls.key").chmod(0o600)
    wait_until("it is read as Envoy's user", live.files.unusable)
    assert "Permission denied" in live.files.unusable().popitem()[1]
    assert '"client": "second"' in seen()
