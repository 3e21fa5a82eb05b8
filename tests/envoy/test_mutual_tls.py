"""TLS between workloads of the mesh, as the other side sees it: openssl's, not Envoy's own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pilotfish.cli.envoy_admin import read_certificate
from pilotfish.envoy.mutual_tls import MESH_HTTP, SPOKEN
from pilotfish.envoy.naming import READ_HTTP
from pilotfish.model import Protocol
from tests.certificates import issue
from tests.envoy.authority import Authority, spiffe
from tests.envoy.conftest import EDGE, PEER4, POD4, WEBAPP, Start
from tests.envoy.connections import start_greeter
from tests.envoy.tls_calls import Seen, call_tls
from tests.envoy.wire import start_wire

CLIENT = replace(WEBAPP, certified=True)
ISTIO = {"security.istio.io/tlsMode": "istio"}


@pytest.fixture
def authority() -> Iterator[Authority]:
    with TemporaryDirectory() as name:
        yield Authority(Path(name))


def _object(kind: str, name: str, api: str = "v1", **rest: object) -> str:
    labels = rest.pop("labels", {})
    metadata = {"name": name, "namespace": "vm", "labels": labels}
    return json.dumps({"apiVersion": api, "kind": kind, "metadata": metadata, **rest}) + "\n---\n"


def _pod(name: str, address: str, labels: dict[str, str], account: str = "") -> str:
    spec = {"containers": [{"name": "app", "command": ["x"]}], "serviceAccountName": account}
    return _object("Pod", name, labels={"app": name, **labels}, spec=spec, status={"podIP": address})


def _service(name: str, address: str, app: str, port: str, target: int, **spec: object) -> str:
    ports = [{"name": port, "port": 80, "targetPort": target}]
    return _object("Service", name, spec={"clusterIP": address, "selector": {"app": app}, "ports": ports, **spec})


def _rule(host: str, tls: dict[str, object]) -> str:
    spec = {"host": host, "trafficPolicy": {"tls": tls}}
    return _object("DestinationRule", host, "networking.istio.io/v1", spec=spec)


def _peer_authentication(mode: str, app: str = "", ports: dict[str, str] | None = None) -> str:
    spec: dict[str, object] = {"mtls": {"mode": mode}}
    if app:
        spec["selector"] = {"matchLabels": {"app": app}}
    if ports:
        spec["portLevelMtls"] = {port: {"mode": each} for port, each in ports.items()}
    return _object("PeerAuthentication", app or "all", "security.istio.io/v1", spec=spec)


CALLED = {
    "auto": ("http", 8443, "outbound_.80_._.auto.vm.svc.cluster.local as webapp, istio-http/1.1"),
    "two": ("http2", 8443, "outbound_.80_._.two.vm.svc.cluster.local as webapp, istio-h2"),
    "sniffed": ("x", 8443, "outbound_.80_._.sniffed.vm.svc.cluster.local as webapp, istio-http/1.1"),
    "passed": ("tcp", 8443, "outbound_.80_._.passed.vm.svc.cluster.local as webapp, istio"),
    "required": ("http", 8443, "asked.example.com as webapp, istio-http/1.1"),
    "disabled": ("http", 8080, "plain"),
    "bare": ("http", 8080, "plain"),
    "unasked": ("http", 8080, "plain"),
    "stranger": ("http", 8443, "503 Service Unavailable"),
    "accepted": ("http", 8443, "outbound_.80_._.accepted.vm.svc.cluster.local as webapp, istio-http/1.1"),
}
"""The port that a service declares, where its endpoint listens, and what the server sees or the client gets."""


def test_who_is_spoken_to_how(start: Start, authority: Authority) -> None:
    authority.write("server", issue("server", authority.root, spiffe("server")))
    pods = {
        "bare": _pod("bare", PEER4, {}, "server"),
        "required": _pod("required", PEER4, {}, "server"),
        "stranger": _pod("stranger", PEER4, ISTIO, "another"),
        "accepted": _pod("accepted", PEER4, ISTIO, "another"),
    }
    text = "".join(
        _service(name, f"10.96.1.{index}", name, port, target) + (pods.get(name) or _pod(name, PEER4, ISTIO, "server"))
        for index, (name, (port, target, _)) in enumerate(CALLED.items(), 1)
    )
    text += _rule("required", {"mode": "ISTIO_MUTUAL", "sni": "asked.example.com"}) + _rule(
        "disabled", {"mode": "DISABLE"}
    )
    text += _rule("accepted", {"mode": "ISTIO_MUTUAL", "subjectAltNames": [spiffe("other"), spiffe("server")]})
    text += _peer_authentication("DISABLE", "unasked")
    live = start(text, proxy=CLIENT, secrets=authority.secrets)
    start_wire(live, PEER4, 8443, "secret", authority.folder)
    start_wire(live, PEER4, 8080, "plain")
    seen = {name: _told(live.request(live.netns, f"10.96.1.{i}", 80, name)) for i, name in enumerate(CALLED, 1)}
    assert seen == {name: expected for name, (_, _, expected) in CALLED.items()}
    index = 1 + list(CALLED).index("sniffed")
    answer = live.call(live.netns, f"10.96.1.{index}", 80, "PROXY x\r\n\r\n")
    assert answer.startswith("saw PROXY x"), "bytes that are no HTTP go to a sniffed port, too"


def _told(answer: str) -> str:
    head, _, body = answer.partition("\n\n")
    if "200 OK" not in head:
        return head.partition("\n")[0].removeprefix("HTTP/1.1 ")
    told = json.loads(body[body.index("{") : body.rindex("}") + 1])
    return f"{told['asked']} as {told['client'] or 'nobody'}, {told['alpn']}" if "asked" in told else str(told["name"])


def test_pods_that_are_called_by_address(start: Start, authority: Authority) -> None:
    """Of a headless Service, all of whose pods have a proxy, or not all."""
    authority.write("server", issue("server", authority.root, spiffe("server")))
    ports = [{"name": "http", "port": 8443}]
    text = _object("Service", "all", spec={"clusterIP": "None", "selector": {"app": "all"}, "ports": ports})
    ports = [{"name": "http", "port": 8080}]
    text += _object("Service", "some", spec={"clusterIP": "None", "selector": {"part": "some"}, "ports": ports})
    text += _pod("all", PEER4, {**ISTIO, "part": "some"}, "server") + _pod("bare", PEER4, {"part": "some"}, "server")
    live = start(text, proxy=CLIENT, secrets=authority.secrets)
    start_wire(live, PEER4, 8443, "secret", authority.folder)
    start_wire(live, PEER4, 8080, "plain")
    seen = _told(live.request(live.netns, PEER4, 8443, "all"))
    assert seen == "outbound_.8443_._.all.vm.svc.cluster.local as webapp, istio-http/1.1"
    assert _told(live.request(live.netns, PEER4, 8080, "some")) == "plain"


GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge, namespace: vm}
spec:
  selector: {istio: edge}
  servers:
  - {port: {number: 8443, name: a, protocol: HTTPS}, hosts: [a.example.com], tls: {mode: ISTIO_MUTUAL}}
  - {port: {number: 8444, name: b, protocol: TLS}, hosts: ["*.vm.svc.cluster.local"], tls: {mode: AUTO_PASSTHROUGH}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: vm}
spec: {hosts: [a.example.com], gateways: [edge], http: [{route: [{destination: {host: server}}]}]}
---
"""


def test_a_gateway_of_the_mesh(start: Start, authority: Authority) -> None:
    """ISTIO_MUTUAL ends TLS and speaks it again; AUTO_PASSTHROUGH passes it on, and adds none of its own."""
    authority.write("server", issue("server", authority.root, spiffe("server")))
    text = GATEWAY + _service("server", "10.96.1.1", "server", "http", 8443) + _pod("server", PEER4, ISTIO, "server")
    live = start(text, proxy=replace(EDGE, certified=True), secrets=authority.secrets)
    start_wire(live, PEER4, 8443, "secret", authority.folder)
    ca, caller = (
        authority.folder / "ca.pem",
        authority.write("caller", issue("caller", authority.root, spiffe("caller"))),
    )

    def get(port: int, name: str, shown: Path | None) -> Seen:
        sent = "GET / HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n"
        return call_tls(live.peer, POD4, port, sent, server_name=name, trusted=ca, shown=shown, alpn=MESH_HTTP)

    ended = get(8443, "a.example.com", caller)
    assert ended.certificate == "webapp"
    assert '"outbound_.80_._.server.vm.svc.cluster.local", "client": "webapp"' in ended.answer
    assert "secret" not in get(8443, "a.example.com", None).answer
    passed = get(8444, "outbound_.80_._.server.vm.svc.cluster.local", caller)
    assert passed.certificate == "server"
    assert '"client": "caller"' in passed.answer


PORTS = {8001: "http", 8002: "tcp", 8003: "sniffed", 8011: "http-strict", 8012: "tcp-strict", 8021: "http-off"}
OTHERS = {8004: "permissive", 8031: "strict"}
"""Ports that no Service has."""
MESH = (
    _object(
        "Service",
        "webapp",
        spec={
            "clusterIP": "10.96.2.1",
            "selector": {"app": "webapp"},
            "ports": [{"name": name, "port": number} for number, name in PORTS.items()],
        },
    )
    + _pod("webapp-0", POD4, {"app": "webapp"}, "webapp")
    + _peer_authentication(
        "PERMISSIVE", "webapp", {"8011": "STRICT", "8012": "STRICT", "8021": "DISABLE", "8031": "STRICT"}
    )
)
REQUEST = "GET / HTTP/1.1\r\nHost: a\r\nx-show: 1\r\nx-forwarded-client-cert: URI=me\r\nConnection: close\r\n\r\n"
KNOWN = f"uri={spiffe('caller')}".lower()


def test_who_is_let_in(start: Start, authority: Authority) -> None:
    live = start(MESH, proxy=CLIENT, secrets=authority.secrets)
    said = read_certificate(json.loads(live.get("/certs")))
    assert said is not None
    assert said.subject == "spiffe://cluster.local/ns/vm/sa/webapp"
    assert said.not_before <= time.time() < said.not_after
    for port in (*PORTS, *OTHERS):
        live.start_app(live.netns, POD4, port, f"app{port}")
    shown = {
        "caller": issue("caller", authority.root, spiffe("caller")),
        "expired": issue("caller", authority.root, spiffe("caller"), days=-1),
        "of another domain": issue("caller", authority.root, spiffe("caller", "other.domain")),
        "nameless": issue("caller", authority.root),
        "a stranger's": issue("caller", issue("root", is_ca=True), spiffe("caller")),
    }
    paths = {name: authority.write(name, issued) for name, issued in shown.items()}

    def get(port: int, name: str = "", alpn: tuple[str, ...] = MESH_HTTP) -> str:
        ca = authority.folder / "ca.pem"
        return call_tls(live.peer, POD4, port, REQUEST, trusted=ca, shown=paths.get(name), alpn=alpn).answer.lower()

    def get_plain(port: int) -> str:
        return live.call(live.peer, POD4, port, REQUEST).lower()

    for port in (8001, 8003, 8004, 8011, 8031):
        assert KNOWN in get(port, "caller"), "the app is told who calls"
    for port in (8002, 8012):
        assert f"app{port} get /" in get(port, "caller", ("istio",))
    for port in (8011, 8012):
        assert f"app{port} get /" in get(port, "caller", ()), "STRICT asks for a certificate, and for no ALPN"
    for port in (8001, 8002, 8003, 8004, 8021):
        assert f"app{port} get /" in get_plain(port)
    for port in (8001, 8003, 8021):
        assert "uri=me" not in get_plain(port), "who shows no certificate is not believed"
    for port in (8011, 8012, 8031):
        assert "app" not in get_plain(port)
    refused = {
        (name, port)
        for name in ("", *shown)
        for port in (8001, 8003, 8011, 8012, 8031)
        if name != "caller" and f"app{port}" not in get(port, name)
    }
    assert len(refused) == 5 * 5


def test_what_a_clients_proxy_has_read_goes_to_the_app_as_it_comes(start: Start, authority: Authority) -> None:
    """Nothing is added to it, or taken out; whoever shows no certificate, or does not say so, has it read."""
    live = start(MESH, proxy=CLIENT, secrets=authority.secrets)
    for port in (8001, 8003, 8011):
        live.start_app(live.netns, POD4, port, f"app{port}")
    caller, ca = (
        authority.write("caller", issue("caller", authority.root, spiffe("caller"))),
        authority.folder / "ca.pem",
    )

    def get(port: int, alpn: tuple[str, ...], shown: Path | None = caller) -> str:
        return call_tls(live.peer, POD4, port, REQUEST, trusted=ca, shown=shown, alpn=alpn).answer.lower()

    for port in (8001, 8011):
        answer = get(port, (READ_HTTP, *SPOKEN[Protocol.HTTP]))
        assert (f"app{port} get /" in answer, "uri=me" in answer, "server: istio-envoy" in answer) == (
            True,
            True,
            False,
        )
    answer = get(8003, (READ_HTTP, *SPOKEN[Protocol.HTTP]))
    assert "server: istio-envoy" in answer, "what declares nothing may be gRPC"
    for port in (8001, 8011):
        assert "app" not in get(port, (READ_HTTP,), None)
        assert "server: istio-envoy" in get(port, SPOKEN[Protocol.HTTP])


def test_tls_of_a_sidecars_own_is_for_clients_outside_of_the_mesh(start: Start, authority: Authority) -> None:
    """Where the port is not STRICT: it asks them for nothing."""
    own = authority.write("own", issue("own", authority.root))
    for path in (authority.folder, own.with_suffix(".pem"), own.with_suffix(".key")):
        path.chmod(0o755)  # Envoy is another user.
    files = {"serverCertificate": f"{own}.pem", "privateKey": f"{own}.key"}
    ingress = [
        {"port": {"number": n, "protocol": "HTTPS", "name": "https"}, "tls": {"mode": "SIMPLE", **files}}
        for n in (8443, 8444)
    ]
    text = _pod("webapp-0", POD4, {"app": "webapp"}, "webapp") + _peer_authentication(
        "PERMISSIVE", "webapp", {"8444": "STRICT"}
    )
    text += _object("Sidecar", "default", "networking.istio.io/v1", spec={"ingress": ingress})
    live = start(text, proxy=CLIENT, secrets=authority.secrets)
    for port in (8443, 8444):
        live.start_app(live.netns, POD4, port, f"app{port}")
    ca = authority.folder / "ca.pem"
    caller = authority.write("caller", issue("caller", authority.root, spiffe("caller")))
    seen = call_tls(live.peer, POD4, 8443, REQUEST, trusted=ca)
    assert (seen.certificate, "app8443" in seen.answer) == ("own", True)
    for port in (8443, 8444):
        seen = call_tls(live.peer, POD4, port, REQUEST, trusted=ca, shown=caller, alpn=MESH_HTTP)
        assert (seen.certificate, f"app{port}" in seen.answer) == ("webapp", True)
    assert "app" not in call_tls(live.peer, POD4, 8444, REQUEST, trusted=ca).answer
    assert "app" not in live.call(live.peer, POD4, 8443, REQUEST)


def test_a_server_that_speaks_first(start: Start, authority: Authority) -> None:
    """Its clients may speak mutual TLS or nothing at all until it has spoken."""
    live = start(MESH, proxy=CLIENT, secrets=authority.secrets)
    start_greeter(live, POD4, 8002, live.netns)
    assert live.call(live.peer, POD4, 8002, "") == "hello\n"
    caller = authority.write("caller", issue("caller", authority.root, spiffe("caller")))
    ca = authority.folder / "ca.pem"
    assert call_tls(live.peer, POD4, 8002, "", trusted=ca, shown=caller, alpn=("istio",)).answer == "hello\n"


def test_endpoints_that_say_as_whom_they_show_themselves(start: Start, authority: Authority) -> None:
    """They are spoken to as pods with a proxy are; one that shows itself as another is not."""
    text = ""
    for index, account in enumerate(("server", "another"), 1):
        spec: dict[str, object] = {"hosts": [f"{account}.example.com"], "addresses": [f"10.96.1.{index}"]}
        spec |= {"resolution": "STATIC"}
        spec |= {"ports": [{"number": 80, "name": "http", "targetPort": 8443}], "location": "MESH_INTERNAL"}
        endpoints = {"endpoints": [{"address": PEER4, "serviceAccount": account}]}
        text += _object("ServiceEntry", account, "networking.istio.io/v1", spec={**spec, **endpoints})
        spec |= {"workloadSelector": {"labels": {"app": account}}, "hosts": [f"{account}.example.org"]}
        spec |= {"addresses": [f"10.96.2.{index}"]}
        text += _object("ServiceEntry", f"{account}-selected", "networking.istio.io/v1", spec=spec)
        entry = {"address": PEER4, "serviceAccount": account, "labels": {"app": account}}
        text += _object("WorkloadEntry", account, "networking.istio.io/v1", spec=entry)
    authority.write("server", issue("server", authority.root, spiffe("server")))
    live = start(text, proxy=CLIENT, secrets=authority.secrets)
    start_wire(live, PEER4, 8443, "secret", authority.folder)
    for network, domain in (("10.96.1", "example.com"), ("10.96.2", "example.org")):
        name = f"server.{domain}"
        seen = _told(live.request(live.netns, f"{network}.1", 80, name))
        assert seen == f"outbound_.80_._.{name} as webapp, istio-http/1.1"
        assert "503" in live.request(live.netns, f"{network}.2", 80, f"another.{domain}")


def _mesh(**config: object) -> str:
    return _object("ConfigMap", "istio", data={"mesh": json.dumps(config)}).replace('"vm"', '"istio-system"')


def test_how_the_mesh_speaks_tls(start: Start, authority: Authority) -> None:
    """To who calls a pod: versions, suites and curves."""
    live = start(MESH, proxy=CLIENT, secrets=authority.secrets)
    live.start_app(live.netns, POD4, 8011, "app")
    ca = authority.folder / "ca.pem"
    caller = authority.write("caller", issue("caller", authority.root, spiffe("caller")))

    def call(highest: str = "TLSv1_2", curve: str = "") -> tuple[bool, str]:
        seen = call_tls(
            live.peer, POD4, 8011, REQUEST, trusted=ca, shown=caller, alpn=MESH_HTTP, highest=highest, curve=curve
        )
        return "app GET" in seen.answer, seen.cipher

    # Up to TLS 1.2 a curve is the certificate's as well.
    assert (call()[0], call("TLSv1_3", "secp384r1")[0]) == (True, False)
    suite = "ECDHE-ECDSA-AES256-GCM-SHA384"
    live.update(MESH + _mesh(meshMTLS={"cipherSuites": [suite], "ecdhCurves": ["P-384"]}), CLIENT)
    assert (call(), call("TLSv1_3", "secp384r1")[0]) == ((True, suite), True)
    live.update(MESH + _mesh(meshMTLS={"minProtocolVersion": "TLSV1_3"}), CLIENT)
    assert (call()[0], call("TLSv1_3")[0]) == (False, True)


def test_whom_the_mesh_takes_for_its_own(start: Start, authority: Authority) -> None:
    """By trust domain; and what is spoken with them where nobody says it."""
    domains = ("cluster.local", "td.example", "old.example")
    services = ""
    for index in range(1, len(domains) + 1):
        services += _service(f"s{index}", f"10.96.1.{index}", f"s{index}", "http", 8440 + index)
        services += _pod(f"s{index}", PEER4, ISTIO, "server")
    live = start(services, proxy=CLIENT, secrets=authority.secrets)
    for index, domain in enumerate(domains, 1):
        authority.write("server", issue("server", authority.root, spiffe("server", domain)))
        start_wire(live, PEER4, 8440 + index, "secret", authority.folder)

    def taken() -> set[str]:
        asked = {d: live.request(live.netns, f"10.96.1.{i}", 80, f"s{i}") for i, d in enumerate(domains, 1)}
        return {domain for domain, answer in asked.items() if "200 OK" in answer}

    assert taken() == {"cluster.local"}
    live.update(services + _mesh(trustDomain="td.example"), CLIENT)
    assert taken() == {"td.example"}
    live.update(services + _mesh(trustDomain="td.example", trustDomainAliases=["old.example"]), CLIENT)
    assert taken() == {"td.example", "old.example"}
    live.update(services + _mesh(enableAutoMtls=False), CLIENT)
    assert taken() == set(), "they are spoken to in the clear"
