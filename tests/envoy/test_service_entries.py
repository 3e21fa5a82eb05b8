"""ServiceEntries as a client sees them: which server of several answers a request through a real Envoy."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from itertools import count, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory

from pilotfish.model.wellknown import PROXY_DNS_PORT
from tests.certificates import issue, revoke
from tests.envoy.calls import call_all
from tests.envoy.conftest import PEER4, LiveEnvoy, Start
from tests.envoy.connections import connect_all, start_server
from tests.envoy.wire import start_wire
from tests.waiting import wait_until

ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: vm}}
spec:
  hosts: [{host}]
  addresses: {addresses}
  resolution: {resolution}
  ports: {ports}
  {endpoints}
---
"""
IN_TURNS = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: turns, namespace: vm}
spec: {host: app.example.com, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}
"""
"""As weights say, however many requests are under way: of these the default takes notice too."""
HTTP = "[{number: 80, name: http, protocol: HTTP}]"


def _entry(name: str, host: str, address: str = "", ports: str = HTTP, endpoints: str = "", how: str = "STATIC") -> str:
    listed = f"endpoints: {endpoints}" if endpoints else ""
    addresses = f"[{address}]" if address else "[]"
    return ENTRY.format(name=name, host=host, addresses=addresses, ports=ports, endpoints=listed, resolution=how)


def test_several_of_one_host_are_put_together_and_weights_divide(start: Start) -> None:
    ports = "[{number: 80, name: http, protocol: HTTP, targetPort: 7002}, {number: 81, name: http-2, protocol: HTTP}]"
    endpoint = f"[{{address: {PEER4}, ports: {{http: 7001}}}}]"
    live = start(
        _entry("one", "app.example.com", "10.96.0.7", endpoints=endpoint)
        + _entry("two", "app.example.com", "10.96.0.7", ports, f"[{{address: {PEER4}, weight: 3}}]")
        + IN_TURNS
    )
    for port, name in ((7001, "one"), (7002, "two"), (81, "more")):
        live.start_app(live.peer, PEER4, port, name)
    request = "GET / HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n"
    found = call_all(live.netns, "10.96.0.7", 80, [[(0, request)]] * 400)
    answers = [re.findall(r"x-app: (\w+)", answer) for answer, _ in found]
    assert 290 < answers.count(["two"]) < 310
    assert answers.count(["one"]) == 400 - answers.count(["two"])
    assert "more GET /" in live.request(live.netns, "10.96.0.7", 81, "app.example.com")


SELECTING = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: vm}}
spec:
  hosts: [app.example.com]
  addresses: [10.96.0.7]
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {target}}}]
  workloadSelector: {{labels: {{app: {name}}}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: {name}-0, namespace: vm, labels: {{app: {name}}}}}
spec: {{containers: [{{name: app, command: [x]}}]}}
status: {{podIP: {address}, phase: Running}}
---
"""


def test_several_of_one_host_may_select_different_workloads(start: Start) -> None:
    one, two = (
        SELECTING.format(name="one", target=7001, address=PEER4),
        _entry("two", "app.example.com", "10.96.0.7", endpoints=f"[{{address: {PEER4}, ports: {{http: 7002}}}}]"),
    )
    live = start(one + two + SELECTING.format(name="three", target=7003, address=PEER4))
    for port, name in ((7001, "one"), (7002, "two"), (7003, "three")):
        live.start_app(live.peer, PEER4, port, name)
    request = "GET / HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n"
    answers = call_all(live.netns, "10.96.0.7", 80, [[(0, request)]] * 60)
    # Of three one is left out of 60 answers once in ten thousand million times.
    assert {name for answer, _ in answers for name in re.findall(r"x-app: (\w+)", answer)} == {"one", "two", "three"}


OWNED = f"""
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: vm}}
spec: {{clusterIP: 10.96.0.7, selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: 7001}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: web-0, namespace: vm, labels: {{app: web}}}}
spec: {{containers: [{{name: app, command: [x]}}]}}
status: {{podIP: {PEER4}, phase: Running, conditions: [{{type: Ready, status: "True"}}]}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: machine, namespace: vm}}
spec:
  hosts: [web.vm.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: 7003}}, {{number: 81, name: more, protocol: HTTP}}]
  workloadSelector: {{labels: {{app: machine}}}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: machine, namespace: vm}}
spec: {{address: {PEER4}, labels: {{app: machine}}}}
---
"""


def test_endpoints_may_be_added_to_a_service(start: Start) -> None:
    """Those of its own namespace, where they have a port of its name."""
    host = "web.vm.svc.cluster.local"
    listed = _entry("listed", host, endpoints=f"[{{address: {PEER4}, ports: {{http: 7002}}}}]")
    foreign = listed.replace("namespace: vm", "namespace: shop").replace("7002", "7004")
    others = _entry(
        "others", host, ports="[{number: 80, name: other, protocol: HTTP}]", endpoints="[{address: 10.9.9.9}]"
    )
    live = start(OWNED + listed + foreign + others)
    for port, name in ((7001, "pod"), (7002, "listed"), (7003, "machine"), (7004, "foreign")):
        live.start_app(live.peer, PEER4, port, name)
    request = "GET / HTTP/1.1\r\nHost: web.vm\r\nConnection: close\r\n\r\n"
    answers = call_all(live.netns, "10.96.0.7", 80, [[(0, request)]] * 60)
    assert {name for answer, _ in answers for name in re.findall(r"x-app: (\w+)", answer)} == {
        "pod",
        "listed",
        "machine",
    }
    assert all("200 OK" in answer for answer, _ in answers)


def test_an_endpoint_may_be_a_socket_in_the_pod(start: Start) -> None:
    live = start(_entry("socket", "app.example.com", "10.96.0.7", endpoints='[{address: "unix://@pft-app"}]'))
    command = ["ip", "netns", "exec", live.netns, sys.executable, "-ISc", _SERVER]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    live.processes.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    assert live.request(live.netns, "10.96.0.7", 80, "app.example.com").endswith("socket")


ANY = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}
---
"""
LOOKED_UP = ANY.replace("ALLOW_ANY_DYNAMIC_DNS", "REGISTRY_ONLY") + _entry(
    "wild",
    "'*.example.com'",
    ports="[{number: 80, name: http, protocol: HTTP}, {number: 443, name: tls, protocol: TLS}]",
    how="DYNAMIC_DNS",
)


def test_a_wildcard_is_looked_up_name_by_name(start: Start) -> None:
    live = start(LOOKED_UP)
    _start_dns(live)
    live.start_app(live.peer, PEER4, 80, "there")
    start_server(live, 443, "there")
    # What the client takes for the address has no say.
    assert "there GET /" in live.request(live.netns, "10.99.0.1", 80, "a.example.com")
    assert "503 Service Unavailable" in live.request(live.netns, "10.99.0.1", 80, "nowhere.example.com")
    calls = (("10.99.0.1", 443, name) for name in ("b.a.example.com", "nowhere.example.com", "a.example.org"))
    assert connect_all(live.netns, tuple(calls)) == ["there", "closed", "closed"]


def test_names_are_looked_up(start: Start) -> None:
    """The host's own, or those of endpoints."""
    live = start(
        ANY.replace("outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}", "dnsRefreshRate: 100ms")
        + _entry("own", "own.example.com", "10.96.0.1", how="DNS")
        + _entry("several", "several.example.org", "10.96.0.2", how="DNS", endpoints=_NAMES)
        + _entry("one", "one.example.org", "10.96.0.3", how="DNS_ROUND_ROBIN", endpoints="[{address: a.example.com}]")
        + _entry("lost", "nowhere.example.com", "10.96.0.4", how="DNS")
    )
    _start_dns(live)
    for port in (80, 81):
        live.start_app(live.peer, PEER4, port, f"there{port}")

    def ask(index: int, host: str) -> str:
        return live.request(live.netns, f"10.96.0.{index}", 80, host)

    # Envoy asked before anybody could answer, and asks again.
    wait_until("it is known", lambda: "there80 GET /" in ask(1, "own.example.com"))
    wait_until("one is known", lambda: "there80 GET /" in ask(3, "one.example.org"))
    for port in (80, 81):
        wait_until(f"{port} is known", lambda port=port: f"there{port} GET /" in ask(2, "several.example.org"))  # type: ignore[misc]
    assert "503 Service Unavailable" in ask(4, "nowhere.example.com")


_NAMES = "[{address: a.example.com}, {address: nowhere.example.com}, {address: b.example.com, ports: {http: 81}}]"


def test_what_nobody_has_is_looked_up_where_the_mesh_says_so(start: Start) -> None:
    live = start(ANY + _entry("some", "app.example.org", "10.96.0.7", endpoints=f"[{{address: {PEER4}}}]"))
    _start_dns(live)
    for port in (80, 81):
        live.start_app(live.peer, PEER4, port, "there")
        # On a port that some service has, and on one that none has.
        assert "there GET /" in live.request(live.netns, "10.99.0.1", port, f"a.example.com:{port}")
    # What is no request goes where it was going.
    start_server(live, 82, "there")
    assert connect_all(live.netns, [(PEER4, 82, ""), (PEER4, 82, "a.example.com")]) == ["there", "there"]


def test_a_name_that_leads_nowhere_is_asked_for_again_as_often_as_the_mesh_says(start: Start) -> None:
    live = start(LOOKED_UP.replace("  mesh: |\n", "  mesh: |\n    dnsRefreshRate: 100ms\n"))
    _start_dns(live)
    live.start_app(live.peer, PEER4, 80, "there")
    asked = (live.request(live.netns, "10.99.0.1", 80, "later.example.com") for _ in count())
    end = time.monotonic() + 20
    assert any("there GET /" in answer for answer in takewhile(lambda _: time.monotonic() < end, asked))


def test_what_nobody_has_may_be_asked_over_tls(start: Start) -> None:
    """Who answers must be whom the request is for."""
    ca = issue("ca")
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        served = issue("host", ca, "a.example.com")
        for file, text in (("server.pem", served.pem), ("server.key", served.key), ("ca.pem", ca.pem)):
            (folder / file).write_text(text)
        live = start(ANY.replace("DNS}", f"DNS, tls: {{mode: SIMPLE, caCertificates: {folder}/ca.pem}}}}"))
        _start_dns(live)
        for port, host in ((443, "a.example.com"), (444, "a.example.com:444")):
            start_wire(live, PEER4, port, f"there {port}", folder)
            answer = live.request(live.netns, "10.99.0.1", 80, host)
            assert f'"name": "there {port}"' in answer
            assert '"asked": "a.example.com"' in answer
        assert "503 Service Unavailable" in live.request(live.netns, "10.99.0.1", 80, "b.example.com")


LOST = "503 Service Unavailable"
TRUSTED = "mode: SIMPLE, caCertificates: {0}/ca.pem"
OVER_TLS = {
    "mode: SIMPLE, caCertificates: {0}/stranger.pem": LOST,
    "mode: SIMPLE, insecureSkipVerify: true": '"asked": "a.example.com", "client": ""',
    "mode: MUTUAL, caCertificates: {0}/ca.pem, clientCertificate: {0}/me.pem, privateKey: {0}/me.key": '"client": "me"',
    f"{TRUSTED}, caCrl: {{0}}/crl.pem": LOST,
    f"{TRUSTED}, sni: b.example.com, subjectAltNames: [a.example.com]": '"asked": "b.example.com"',
    f"{TRUSTED}, subjectAltNames: [b.example.com]": LOST,
}
"""What the mesh says, and what comes back of a server that is a.example.com."""


def test_how_tls_is_spoken_to_what_nobody_has(start: Start) -> None:
    ca = issue("ca")
    served, me = issue("host", ca, "a.example.com"), issue("me", ca)
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for issued, file in ((ca, "ca"), (issue("stranger"), "stranger"), (served, "server"), (me, "me")):
            (folder / f"{file}.pem").write_text(issued.pem)
            (folder / f"{file}.key").write_text(issued.key)
        (folder / "crl.pem").write_text(revoke(ca, served))
        live = start(ANY)
        _start_dns(live)
        start_wire(live, PEER4, 443, "there", folder)
        for tls, expected in OVER_TLS.items():
            live.update(ANY.replace("DNS}", f"DNS, tls: {{{tls.format(folder)}}}}}"))
            # What has a new certificate is used once that is there.
            wait_until(tls, lambda: expected in live.request(live.netns, "10.99.0.1", 80, "a.example.com"))  # noqa: B023


def _start_dns(live: LiveEnvoy) -> None:
    """What the agent is in a pod: it knows *.example.com, all at one address, but for nowhere.example.com, and
    later.example.com when it has been asked for that 40 times."""
    command = ["ip", "netns", "exec", live.netns, sys.executable, "-ISc", _DNS, PEER4, str(PROXY_DNS_PORT)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    live.processes.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"


_DNS = """
import socket, sys
later = 0
with socket.socket(type=socket.SOCK_DGRAM) as server:
    server.bind(("127.0.0.1", int(sys.argv[2])))
    print("ready", flush=True)
    while True:
        asked, client = server.recvfrom(4096)
        end = asked.index(bytes(1), 12) + 5
        later += b"later" in asked
        known = b"nowhere" not in asked and asked[end - 4 : end - 2] == bytes((0, 1))
        known = known and not (b"later" in asked and later < 40)
        head = asked[:2] + bytes((0x81, 0x80, 0, 1, 0, known, 0, 0, 0, 0)) + asked[12:end]
        answer = bytes((0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)) + socket.inet_aton(sys.argv[1])
        server.sendto(head + answer * known, client)
"""

_SERVER = """
import socket
with socket.socket(socket.AF_UNIX) as server:
    server.bind("\\0pft-app")
    server.listen()
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 6\\r\\nConnection: close\\r\\n\\r\\nsocket")
"""
