"""What a Sidecar changes for the app of a pod, and for those who call it, through a real Envoy."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from cryptography.hazmat.primitives.hashes import SHA256

from tests.certificates import issue, key_pin, revoke
from tests.envoy.conftest import PEER4, POD4, LiveEnvoy, Start
from tests.envoy.tls_calls import Seen, call_tls

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")

SERVICE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  hosts: [{name}.example.com]
  addresses: [{address}]
  resolution: STATIC
  exportTo: ["{export_to}"]
  ports: [{{number: 80, name: http, protocol: HTTP}}, {{number: 9000, name: tcp, protocol: TCP, targetPort: 80}}]
  endpoints: [{{address: 10.245.1.2}}]
---
"""


def services(**namespaces: str) -> str:
    made = []
    for index, (name, place) in enumerate(namespaces.items()):
        namespace, _, export_to = place.partition(" ")
        address = f"10.96.0.{index + 1}"
        made.append(SERVICE.format(name=name, namespace=namespace, address=address, export_to=export_to or "*"))
    return "".join(made)


def sidecar(spec: str) -> str:
    return (
        f"apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: default, namespace: vm}}\nspec: {spec}\n"
    )


def served(live: LiveEnvoy, name: str, address: str) -> str:
    """What the first line of the answer to a call of a service says: `200`, `502`, or `""` if there is none."""
    answer = live.request(live.netns, address, 80, f"{name}.example.com")
    return answer.split(" ")[1] if answer.startswith("HTTP/") else ""


def routed_by_mesh(live: LiveEnvoy, name: str, address: str) -> bool:
    """Whether a call of the address came to the app, which only a service's cluster leads to."""
    return "app GET" in live.request(live.netns, address, 80, f"{name}.example.com")


def test_what_is_not_exported_to_a_namespace_is_unknown_there(start: Start) -> None:
    hidden = services(seen="shop", own="vm .", hidden="shop .", nobodys="vm ~")
    live = start(f"{hidden}\n{sidecar('{outboundTrafficPolicy: {mode: REGISTRY_ONLY}}')}")
    live.start_app(live.peer, PEER4, 80, "app")
    found = {
        name: served(live, name, f"10.96.0.{i + 1}") for i, name in enumerate(("seen", "own", "hidden", "nobodys"))
    }
    assert found == {"seen": "200", "own": "200", "hidden": "502", "nobodys": "502"}


@pytest.mark.parametrize(
    ("hosts", "seen"),
    [
        ("['./*']", {"a"}),
        ("['shop/*']", {"b", "c"}),
        ("['*/b.example.com']", {"b"}),
        ("['*/*.example.com', '~shop/c.example.com']", {"a", "b"}),
        ("['~/*']", set()),
    ],
)
def test_hosts_out_of_scope_are_unknown(start: Start, hosts: str, seen: set[str]) -> None:
    policy = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"
    live = start(services(a="vm", b="shop", c="shop") + sidecar(f"{{egress: [{{hosts: {hosts}}}], {policy}}}"))
    live.start_app(live.peer, PEER4, 80, "app")
    found = {name: routed_by_mesh(live, name, f"10.96.0.{i + 1}") for i, name in enumerate("abc")}
    assert found == {name: name in seen for name in "abc"}
    tcp = {name: "app GET" in live.request(live.netns, f"10.96.0.{i + 1}", 9000, "x") for i, name in enumerate("abc")}
    assert tcp == found


def test_what_is_unknown_passes_where_the_sidecar_lets_it(start: Start) -> None:
    mesh = services(a="vm", b="shop") + sidecar(
        "{egress: [{hosts: ['./*']}], outboundTrafficPolicy: {mode: ALLOW_ANY}}"
    )
    live = start(mesh)
    live.start_app(live.peer, PEER4, 80, "app")
    assert "app GET" in live.request(live.netns, PEER4, 80, "b.example.com"), "to the address that was called"
    assert not routed_by_mesh(live, "b", "10.96.0.2")


def test_what_is_unknown_is_sent_to_the_egress_proxy(start: Start) -> None:
    policy = "outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.example.com, port: {number: 9000}}}"
    live = start(services(a="vm", b="shop") + sidecar(f"{{egress: [{{hosts: ['./*']}}], {policy}}}"))
    live.start_app(live.peer, PEER4, 80, "app")
    assert routed_by_mesh(live, "b", "10.96.0.2")
    assert "app GET" in live.request(live.netns, "192.0.2.1", 4321, "anything"), "of any port"


def test_a_destination_of_a_route_that_is_imported_comes_with_it(start: Start) -> None:
    route = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: vm}
spec:
  hosts: [a.example.com]
  http: [{route: [{destination: {host: b.example.com, port: {number: 80}}}], headers: {response: {set: {x-by: route}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: b, namespace: shop}
spec:
  hosts: [c.example.com]
  http: [{directResponse: {status: 418}}]
---
"""
    policy = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"
    live = start(services(a="vm", b="shop", c="vm") + route + sidecar(f"{{egress: [{{hosts: ['./*']}}], {policy}}}"))
    live.start_app(live.peer, PEER4, 80, "app")
    assert "x-by: route" in live.request(live.netns, "10.96.0.1", 80, "a.example.com")
    assert served(live, "b", "10.96.0.2") == "502", "it is there for the route alone"
    assert served(live, "c", "10.96.0.3") == "200", "the other namespace's routes are not imported"


def test_listeners_have_hosts_of_their_own(start: Start) -> None:
    """By port; at an address of its own, which is called, not captured; and as a proxy of all ports."""
    egress = """
    - {port: {number: 80, protocol: HTTP}, hosts: [./a.example.com]}
    - {port: {number: 9000, protocol: HTTP}, captureMode: NONE, hosts: ['*/*']}
    - {port: {number: 9100, protocol: HTTP_PROXY}, bind: 127.0.0.2, captureMode: NONE, hosts: ['*/*']}
    - {hosts: ['*/b.example.com']}"""
    live = start(services(a="vm", b="shop") + sidecar(f"\n  outboundTrafficPolicy: {{}}\n  egress:{egress}"))
    live.start_app(live.peer, PEER4, 80, "app")
    assert [routed_by_mesh(live, name, f"10.96.0.{i + 1}") for i, name in enumerate("ab")] == [True, False]
    assert "app GET" in live.request(live.netns, "127.0.0.1", 9000, "b.example.com")
    assert "app GET" in live.request(live.netns, "127.0.0.2", 9100, "b.example.com:80")
    assert "502" in live.request(live.netns, "127.0.0.2", 9100, "c.example.com")


PROXY = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "proxyHttpPort: 3128"}
---
"""


@pytest.mark.parametrize("scope", ["", "{egress: [{hosts: ['./*']}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}"])
def test_an_app_may_be_told_of_a_proxy(start: Start, scope: str) -> None:
    """For all services that it sees. It asks with whole URLs, and, as in Istio, makes no tunnels."""
    live = start(PROXY + services(a="vm", b="shop") + (sidecar(scope) if scope else ""))
    live.start_app(live.peer, PEER4, 80, "app")

    def ask(asked: str, host: str) -> str:
        return live.call(
            live.netns, "127.0.0.1", 3128, f"{asked} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )

    assert "app GET /x" in ask("GET http://a.example.com/x", "a.example.com")
    assert "app GET /x" in ask("GET http://a.example.com:80/x", "a.example.com:80")
    assert ("app GET" in ask("GET http://b.example.com/", "b.example.com")) is not bool(scope)
    assert routed_by_mesh(live, "a", "10.96.0.1"), "what is captured goes on as ever"
    assert "HTTP/1.1 404 Not Found" in ask("CONNECT a.example.com:80", "a.example.com:80")


def test_a_socket_takes_calls(start: Start) -> None:
    path = Path(f"/tmp/pft-{os.getpid()}.egress")
    egress = f"[{{port: {{protocol: HTTP}}, bind: 'unix://{path}', hosts: ['*/*']}}, {{hosts: ['~/*']}}]"
    live = start(services(a="vm") + sidecar(f"{{egress: {egress}}}"))
    live.start_app(live.peer, PEER4, 80, "app")
    try:
        command = ["curl", "-s", "--max-time", "5", "--unix-socket", str(path), "http://a.example.com/"]
        assert "app GET" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    finally:
        path.unlink(missing_ok=True)


INGRESS = """
  ingress:
  - {port: {number: 80, protocol: HTTP}, defaultEndpoint: 127.0.0.1:8080}
  - {port: {number: 81, protocol: TCP}, defaultEndpoint: "0.0.0.0:8081"}
  - {port: {number: 82, protocol: HTTP}, defaultEndpoint: "[::1]:8082"}
  - {port: {number: 83, protocol: HTTP}}
  - {port: {number: 84}, defaultEndpoint: 127.0.0.1:8080}
  - {port: {number: 8500, protocol: HTTP}, defaultEndpoint: 127.0.0.1:8080, captureMode: NONE, bind: 127.0.0.3}"""


def test_the_app_is_called_where_it_listens(start: Start) -> None:
    live = start(sidecar(INGRESS))
    for address, port in (("127.0.0.1", 8080), (POD4, 8081), ("::1", 8082), (POD4, 83)):
        live.start_app(live.netns, address, port, f"app{port}")
    found = {port: live.request(live.peer, POD4, port, "x") for port in (80, 81, 82, 83, 84)}
    apps = {80: "app8080", 81: "app8081", 82: "app8082", 83: "app83", 84: "app8080"}
    assert {port: app for port, app in apps.items() if app not in found[port]} == {}
    assert {port for port, answer in found.items() if "istio-envoy" not in answer} == {81}, (
        "requests are read but there"
    )
    assert "app8080" in live.request(live.netns, "127.0.0.3", 8500, "x")


@pytest.fixture(scope="module")
def keys() -> Iterator[Path]:
    """Readable by the proxy's user."""
    with TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        _make_keys(folder)
        yield folder


def _make_keys(folder: Path) -> None:
    for name in ("server", "client"):
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key")
        arguments = ("openssl", "req", "-x509", *new, "-out", f"{name}.pem", "-subj", f"/CN={name}", "-days", "2")
        subprocess.run(arguments, cwd=folder, check=True, capture_output=True)
        (folder / f"{name}.key").chmod(0o644)


def test_tls_is_ended_for_the_app(start: Start, keys: Path) -> None:
    """With a certificate that is asked for, and without; plaintext is closed."""
    files = f"serverCertificate: {keys}/server.pem, privateKey: {keys}/server.key"
    live = start(
        sidecar(f"""
  ingress:
  - port: {{number: 443, protocol: HTTPS}}
    defaultEndpoint: 127.0.0.1:8080
    tls: {{mode: SIMPLE, {files}, minProtocolVersion: TLSV1_3}}
  - port: {{number: 444, protocol: TLS}}
    defaultEndpoint: 127.0.0.1:8080
    tls: {{mode: MUTUAL, {files}, caCertificates: {keys}/client.pem}}""")
    )
    live.start_app(live.netns, "127.0.0.1", 8080, "app")

    def call(port: int, *more: str) -> str:
        command = ["ip", "netns", "exec", live.peer, "curl", "-sk", "--max-time", "5", f"https://{POD4}:{port}/", *more]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    shown = ("--cert", f"{keys}/client.pem", "--key", f"{keys}/client.key")
    assert ["app GET" in call(443), "app GET" in call(443, "--tls-max", "1.2")] == [True, False]
    assert ["app GET" in call(444, *shown), "app GET" in call(444)] == [True, False]
    assert "app" not in live.request(live.peer, POD4, 443, "x")


def test_how_tls_is_ended_for_the_app(start: Start, keys: Path) -> None:
    files = f"serverCertificate: {keys}/server.pem, privateKey: {keys}/server.key"
    mutual = f"mode: MUTUAL, {files}, caCertificates: {keys}/client.pem, verifyCertificateHash"
    command = ("openssl", "x509", "-in", f"{keys}/client.pem", "-noout", "-fingerprint", "-sha256")
    digest = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().partition("=")[2]
    suite = "ECDHE-ECDSA-AES256-GCM-SHA384"
    live = start(
        sidecar(f"""
  ingress:
  - port: {{number: 443, protocol: HTTPS}}
    defaultEndpoint: 127.0.0.1:8080
    tls: {{mode: SIMPLE, {files}, maxProtocolVersion: TLSV1_2, cipherSuites: [{suite}], alpnProtocols: [http/1.1]}}
  - {{port: {{number: 444, protocol: TLS}}, defaultEndpoint: 127.0.0.1:8080, tls: {{{mutual}: ["{digest}"]}}}}
  - {{port: {{number: 445, protocol: TLS}}, defaultEndpoint: 127.0.0.1:8080, tls: {{{mutual}: ["{"0" * 64}"]}}}}""")
    )
    live.start_app(live.netns, "127.0.0.1", 8080, "app")

    def call(port: int) -> Seen:
        sent = "GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n"
        offered = ("h2", "http/1.1") if port == 443 else ()
        trusted, shown = keys / "server.pem", keys / "client"
        return call_tls(live.peer, POD4, port, sent, trusted=trusted, shown=shown, alpn=offered)

    seen = call(443)
    assert "app GET" in seen.answer
    assert (seen.version, seen.cipher, seen.alpn) == ("TLSv1.2", suite, "http/1.1")
    assert "app GET" in call(444).answer
    assert "app GET" not in call(445).answer


def tls_defaults(stated: str) -> str:
    return f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data: {{mesh: "tlsDefaults: {stated}"}}
---
"""


def test_the_mesh_says_how_tls_is_ended_where_nobody_else_does(start: Start, keys: Path) -> None:
    suite = "ECDHE-ECDSA-AES256-GCM-SHA384"
    files = f"mode: SIMPLE, serverCertificate: {keys}/server.pem, privateKey: {keys}/server.key"
    live = start(
        tls_defaults(f"{{minProtocolVersion: TLSV1_3, cipherSuites: [{suite}], ecdhCurves: [P-384]}}")
        + sidecar(f"""
  ingress:
  - {{port: {{number: 443, protocol: TLS}}, defaultEndpoint: 127.0.0.1:8080, tls: {{{files}}}}}
  - port: {{number: 444, protocol: TLS}}
    defaultEndpoint: 127.0.0.1:8080
    tls: {{{files}, minProtocolVersion: TLSV1_2}}
  - {{port: {{number: 445, protocol: TLS}}, defaultEndpoint: 127.0.0.1:8080, tls: {{{files}, ecdhCurves: [P-256]}}}}""")
    )
    live.start_app(live.netns, "127.0.0.1", 8080, "app")

    def call(port: int, highest: str, curve: str = "") -> Seen:
        sent = "GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n"
        trusted = keys / "server.pem"
        return call_tls(live.peer, POD4, port, sent, trusted=trusted, highest=highest, curve=curve)

    for port, curve in ((443, "secp384r1"), (445, "prime256v1")):
        for each in ("secp384r1", "prime256v1"):
            assert ("app GET" in call(port, "TLSv1_3", each).answer) is (each == curve), (port, each)

    assert "app GET" in call(443, "TLSv1_3").answer
    assert "app GET" not in call(443, "TLSv1_2").answer
    assert (call(444, "TLSv1_2").version, call(444, "TLSv1_2").cipher) == ("TLSv1.2", suite)


@pytest.mark.parametrize(("suite", "expected"), [("AES128-GCM-SHA256", "200"), ("AES256-GCM-SHA384", "503")])
def test_the_mesh_says_how_a_service_is_called_over_tls(start: Start, keys: Path, suite: str, expected: str) -> None:
    """By a server that takes one suite alone."""
    live = start(
        tls_defaults(f"{{cipherSuites: [ECDHE-ECDSA-{suite}]}}")
        + services(a="vm")
        + """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: vm}
spec:
  host: a.example.com
  trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true}}
"""
    )
    taken = ("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256", "-www", "-accept", f"{PEER4}:80")
    server = ("openssl", "s_server", "-cert", f"{keys}/server.pem", "-key", f"{keys}/server.key", *taken)
    live.processes.append(subprocess.Popen(["ip", "netns", "exec", live.peer, *server], stdout=subprocess.PIPE))
    assert live.processes[-1].stdout is not None
    assert b"ACCEPT" in live.processes[-1].stdout.readline() + live.processes[-1].stdout.readline()
    assert served(live, "a", "10.96.0.1") == expected


SUBSETS = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: way-out, namespace: vm}
spec:
  hosts: [out.example.com]
  addresses: [10.96.0.9]
  resolution: STATIC
  ports: [{number: 9000, name: tcp, protocol: TCP}]
  endpoints:
  - {address: 10.245.1.2, labels: {version: v1}, ports: {tcp: 9001}}
  - {address: 10.245.1.2, labels: {version: v2}, ports: {tcp: 9002}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: way-out, namespace: vm}
spec: {host: out.example.com, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}
---
"""


def test_an_egress_proxy_may_be_a_subset(start: Start) -> None:
    proxy = "{host: out.example.com, subset: v2, port: {number: 9000}}"
    policy = f"outboundTrafficPolicy: {{mode: ALLOW_ANY, egressProxy: {proxy}}}"
    live = start(SUBSETS + sidecar(f"{{egress: [{{hosts: ['./*']}}], {policy}}}"))
    for port in (9001, 9002):
        live.start_app(live.peer, PEER4, port, f"app{port}")
    assert {"app9002 GET" in live.request(live.netns, "192.0.2.1", 80, "anything") for _ in range(6)} == {True}


def test_tls_at_the_proxy_has_bounds(start: Start) -> None:
    """Versions, suites and curves; and which clients are let in."""
    ca, stranger = issue("ca"), issue("stranger")
    me = issue("me", ca)
    issued = {"server": issue("server", ca), "me": me, "you": issue("you", ca), "other": issue("other", stranger)}
    pin = me.certificate.fingerprint(SHA256()).hex()
    key = key_pin(me)
    with TemporaryDirectory() as made:
        folder = Path(made)
        folder.chmod(0o755)
        (folder / "ca.pem").write_text(ca.pem)
        (folder / "crl.pem").write_text(revoke(ca, issued["you"]))
        for name, each in issued.items():
            (folder / f"{name}.pem").write_text(each.pem)
            (folder / f"{name}.key").write_text(each.key)
        files = f"serverCertificate: {folder}/server.pem, privateKey: {folder}/server.key"
        live = start(
            sidecar(f"""
  ingress:
  - port: {{number: 443, protocol: HTTPS}}
    defaultEndpoint: 127.0.0.1:8080
    tls: {{mode: SIMPLE, {files}, maxProtocolVersion: TLSV1_2, cipherSuites: [ECDHE-ECDSA-AES256-GCM-SHA384],
      ecdhCurves: [P-256], alpnProtocols: [http/1.1]}}
  - port: {{number: 444, protocol: HTTPS}}
    defaultEndpoint: 127.0.0.1:8080
    tls: {{mode: MUTUAL, {files}, caCertificates: {folder}/ca.pem, caCrl: {folder}/crl.pem}}
  - port: {{number: 445, protocol: HTTPS}}
    defaultEndpoint: 127.0.0.1:8080
    tls: {{mode: OPTIONAL_MUTUAL, {files}, caCertificates: {folder}/ca.pem}}
  - port: {{number: 446, protocol: HTTPS}}
    defaultEndpoint: 127.0.0.1:8080
    tls: {{mode: MUTUAL, {files}, caCertificates: {folder}/ca.pem, verifyCertificateHash: ["{pin}"]}}
  - port: {{number: 448, protocol: HTTPS}}
    defaultEndpoint: 127.0.0.1:8080
    tls: {{mode: MUTUAL, {files}, caCertificates: {folder}/ca.pem, verifyCertificateSpki: ["{key}"]}}
  - port: {{number: 447, protocol: HTTPS}}
    defaultEndpoint: 127.0.0.1:8080
    tls: {{mode: MUTUAL, {files}, caCertificates: {folder}/ca.pem, insecureSkipVerify: true}}""")
        )
        live.start_app(live.netns, "127.0.0.1", 8080, "app")

        def ask(port: int, who: str = "", alpn: tuple[str, ...] = ("http/1.1",)) -> Seen:
            sent = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            shown, trusted = folder / who if who else None, folder / "ca.pem"
            return call_tls(live.peer, POD4, port, sent, server_name="x", trusted=trusted, shown=shown, alpn=alpn)

        plain = ask(443, alpn=("h2", "http/1.1"))
        assert ("app GET" in plain.answer, plain.version, plain.alpn) == (True, "TLSv1.2", "http/1.1")
        assert plain.cipher == "ECDHE-ECDSA-AES256-GCM-SHA384"

        def let_in(port: int) -> set[str]:
            return {who for who in ("", "me", "you", "other") if "app GET" in ask(port, who).answer}

        assert let_in(444) == {"me"}
        assert let_in(445) == {"", "me", "you"}
        assert let_in(446) == let_in(448) == {"me"}
        assert let_in(447) == {"me", "you", "other"}
