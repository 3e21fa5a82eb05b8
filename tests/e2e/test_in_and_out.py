"""Ports of the host that lead into the mesh, and services of the host that its pods call."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pilotfish.runtime.linux.netns import NetNs
from tests.e2e.harness import PILOTFISH, Mesh, run, running_mesh
from tests.e2e.hosts import world
from tests.waiting import wait_until

APP = """
import http.server, json, socket, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        said = json.dumps({"at": self.server.server_address[0], "from": self.client_address[0]}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
echo.bind(("0.0.0.0", 5300))
def answer():
    while True:
        data, client = echo.recvfrom(4096)
        echo.sendto(data.upper(), client)
threading.Thread(target=answer, daemon=True).start()
own = http.server.ThreadingHTTPServer(("127.0.0.1", 9000), Handler)
threading.Thread(target=own.serve_forever, daemon=True).start()
http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""
"""HTTP on 8000, for itself alone on 9000, and an echo over UDP on 5300."""
POD = f"""
apiVersion: v1
kind: Pod
metadata: {{name: NAME, labels: {{app: NAME}}, annotations: {{sidecar.istio.io/inject: "INJECT"}}}}
spec:
  containers:
  - name: app
    command: [python3, -c, {json.dumps(APP)}]
    ports: [{{name: web, containerPort: 8000}}]
    readinessProbe: {{tcpSocket: {{port: 8000}}, periodSeconds: 1}}
---
"""
SERVICES = """
apiVersion: v1
kind: Service
metadata: {name: np}
spec:
  type: NodePort
  selector: {app: web}
  ports:
  - {name: http, port: 80, targetPort: web, nodePort: 30080}
  - {name: any, port: 81, targetPort: web}
---
apiVersion: v1
kind: Service
metadata: {name: lb}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{name: http, port: 80, targetPort: web}]}
---
apiVersion: v1
kind: Service
metadata: {name: dns}
spec:
  type: NodePort
  selector: {app: bare}
  ports: [{name: dns, port: 53, targetPort: 5300, protocol: UDP, nodePort: 30053}]
---
apiVersion: v1
kind: Service
metadata: {name: inside}
spec: {selector: {app: web}, ports: [{name: http, port: 8000}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: redis}
spec:
  hosts: [redis.example.com]
  ports: [{number: 6379, name: tcp-redis, protocol: TCP, targetPort: 16379}]
  resolution: DNS
  endpoints: [{address: host.pilotfish.internal}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api}
spec:
  hosts: [api.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
  workloadSelector: {labels: {app: api}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: api}
spec: {address: host.pilotfish.internal, labels: {app: api}, ports: {http: 18080}}
"""
MANIFESTS = (
    POD.replace("NAME", "web").replace("INJECT", "true")
    + POD.replace("NAME", "bare").replace("INJECT", "false")
    + SERVICES
)
ECHO = """
import socket, sys
s = socket.socket(type=socket.SOCK_DGRAM)
s.settimeout(2)
s.connect(("127.0.0.1", int(sys.argv[1])))
s.send(b"hi")
print(s.recv(9).decode())
"""
REDIS = "exec -a redis-server redis-check-rdb --port 16379 --bind 127.0.0.1 --save '' --dir /tmp"
"""By the name that it is called by, the program is a server or one of its tools."""
SERVE = """
import http.server, sys
place = (sys.argv[1], int(sys.argv[2]))
http.server.ThreadingHTTPServer(place, http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@contextmanager
def started(host: NetNs, *command: str) -> Iterator[None]:
    process = subprocess.Popen(
        ("nsenter", f"--net={host.path}", *command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    """On a host that has a Redis and an API on its loopback, and a program on all addresses."""
    with world() as made:
        host = made.host
        with (
            started(host, "bash", "-c", REDIS),
            started(host, sys.executable, "-c", SERVE, "127.0.0.1", "18080"),
            started(host, sys.executable, "-c", SERVE, "0.0.0.0", "18081"),
            running_mesh("inout", MANIFESTS, "--publish", "9999:pod/web:8000", host=host) as mesh,
        ):
            yield mesh


def on_host(mesh: Mesh, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    assert mesh.host is not None
    return run("nsenter", f"--net={mesh.host.path}", *command, check=check)


def code(mesh: Mesh, port: int, address: str = "127.0.0.1") -> str:
    """Of an answer at a port of the host; 000 where there is none."""
    asked = ("curl", "-sm", "5", "-o", "/dev/null", "-w", "%{http_code}", f"http://{address}:{port}/")
    return on_host(mesh, *asked, check=False).stdout


def echoed(mesh: Mesh, port: int) -> str:
    return on_host(mesh, sys.executable, "-c", ECHO, str(port), check=False).stdout


def published(mesh: Mesh) -> dict[str, str]:
    return {each["target"]: each["address"] for each in mesh.status["published"]}


def number(mesh: Mesh, target: str) -> int:
    return int(published(mesh)[target].rpartition(":")[2])


def test_node_ports_and_load_balancers_are_on_the_hosts_loopback(mesh: Mesh) -> None:
    assert published(mesh)["np.default:80"] == "127.0.0.1:30080"
    assert published(mesh)["lb.default:80"] == "127.0.0.1:8080"
    free = number(mesh, "np.default:81")
    assert 30000 <= free <= 32767
    assert [code(mesh, port) for port in (30080, 8080, free)] == ["200"] * 3
    assert code(mesh, 30080, "198.51.100.2") == "000", "on loopback alone"
    assert echoed(mesh, 30053) == "HI\n"
    lines = mesh.call("get", "services").stdout.splitlines()
    shown = {line.split()[0]: line.split()[1:5] for line in lines[1:]}
    assert shown["lb"][0::2] == ["LoadBalancer", "127.0.0.1"]
    assert shown["lb"][3] == "80:8080/TCP"
    assert shown["np"][2:] == ["<none>", f"80:30080/TCP,81:{free}/TCP"]
    assert shown["dns"][3] == "53:30053/UDP"
    assert shown["inside"][2:] == ["<none>", "8000/TCP"]


def test_the_objects_say_so(mesh: Mesh) -> None:
    balancer = mesh.json("get", "svc/lb")
    assert balancer["status"] == {
        "loadBalancer": {"ingress": [{"ip": "127.0.0.1", "ports": [{"port": 8080, "protocol": "TCP"}]}]}
    }
    assert balancer["spec"]["ports"][0]["nodePort"] == 8080
    free = number(mesh, "np.default:81")
    assert [each["nodePort"] for each in mesh.json("get", "svc/np")["spec"]["ports"]] == [30080, free]
    assert mesh.json("get", "svc/np")["status"] == {"loadBalancer": {}}
    described = [line.split() for line in mesh.call("describe", "svc/lb").stdout.splitlines()]
    assert ["LoadBalancer", "Ingress:", "127.0.0.1"] in described
    assert ["NodePort:", "http", "8080/TCP"] in described


def test_ports_follow_the_services(mesh: Mesh) -> None:
    ports = "[{name: http, port: 80, targetPort: web, nodePort: PORT}]"
    spec = f"{{type: NodePort, selector: {{app: web}}, ports: {ports}}}"
    text = f"apiVersion: v1\nkind: Service\nmetadata: {{name: more}}\nspec: {spec}\n"
    try:
        mesh.call("apply", "-f", "-", stdin=text.replace("PORT", "30090"))
        wait_until("the port is open", lambda: code(mesh, 30090) == "200")
        mesh.call("apply", "-f", "-", stdin=text.replace("PORT", "30091"))
        wait_until("the other is", lambda: code(mesh, 30091) == "200")
        wait_until("the first is closed", lambda: code(mesh, 30090) == "000")
        mesh.call("apply", "-f", "-", stdin=text.replace("PORT", "30080"))
        (problem,) = wait_until(
            "the conflict is said", lambda: [p for p in mesh.status["problems"] if p["reason"] == "NodePortTaken"]
        )
        assert problem["field"] == "spec.ports[0].nodePort"
        assert "port 30080 of 127.0.0.1 is taken, so it is published on 127.0.0.1:3" in problem["message"]
    finally:
        mesh.call("delete", "svc/more")
    wait_until("it is closed", lambda: code(mesh, 30091) == "000" and "more.default:80" not in published(mesh))


def test_publish_while_the_mesh_runs(mesh: Mesh) -> None:
    assert code(mesh, 9999) == "200", "a pod, by `up --publish`"
    said = mesh.call(
        "publish", "9100:inside:http", "9101:pod/web:web", "9102:dns:53/udp", "9103:pod/bare:5300/udp"
    ).stdout
    assert said.splitlines() == [
        "inside.default:http published on 127.0.0.1:9100",
        "pod/web.default:web published on 127.0.0.1:9101",
        "dns.default:53/udp published on 127.0.0.1:9102",
        "pod/bare.default:5300/udp published on 127.0.0.1:9103",
    ]
    assert [code(mesh, port) for port in (9100, 9101)] == ["200"] * 2
    assert [echoed(mesh, port) for port in (9102, 9103)] == ["HI\n"] * 2
    assert "127.0.0.1:9102    dns.default:53/udp" in mesh.call("publish").stdout
    again = mesh.call("publish", "9100:inside:http", check=False)
    assert again.returncode == 1
    assert "port 9100 of 127.0.0.1 is taken" in again.stderr
    removed = mesh.call(
        "publish", "--remove", "9100", "--remove", "9101", "--remove", "9102/udp", "--remove", "9103/udp"
    )
    assert "inside.default:http is not published on 127.0.0.1:9100 any more" in removed.stdout
    assert [code(mesh, port) for port in (9100, 9101)] == ["000"] * 2
    assert echoed(mesh, 9102) == ""
    assert mesh.call("publish", "--remove", "9100", check=False).returncode == 1


def test_what_leads_nowhere_is_said(mesh: Mesh) -> None:
    mesh.call("publish", "9110:nosuch:80")
    try:
        (problem,) = [p for p in mesh.status["problems"] if p["reason"] == "PublishedNothing"]
        assert "connections to 127.0.0.1:9110 are closed at once: the Service does not exist" in problem["message"]
        assert code(mesh, 9110) == "000"
    finally:
        mesh.call("publish", "--remove", "9110")


@contextmanager
def forwarding(mesh: Mesh, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The command, as soon as it forwards, and what it said."""
    assert mesh.host is not None
    inside = ("nsenter", f"--net={mesh.host.path}", str(PILOTFISH))
    command = (*inside, "port-forward", "--name", mesh.name, *arguments)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=mesh.environment
    ) as process:
        try:
            assert process.stdout is not None
            yield process, [process.stdout.readline().strip() for _ in arguments[1:]]
        finally:
            process.kill()


def test_port_forward_begins_inside_the_pod(mesh: Mesh) -> None:
    with forwarding(mesh, "web", "9200:9000", "9201:8000", "9202:15021") as (process, said):
        assert said[0] == "Forwarding from 127.0.0.1:9200 -> 9000"
        assert (
            on_host(mesh, "curl", "-s", "http://127.0.0.1:9200/").stdout == '{"at": "127.0.0.1", "from": "127.0.0.1"}'
        )
        assert code(mesh, 9201) == "200"
        assert on_host(mesh, "curl", "-s", "http://127.0.0.1:9202/healthz/ready").stdout == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    assert code(mesh, 9200) == "000"


def test_port_forward_to_a_service_and_by_udp(mesh: Mesh) -> None:
    with forwarding(mesh, "svc/np", "9210:http") as (_, said):
        assert said == ["Forwarding from 127.0.0.1:9210 -> 8000"]
        assert code(mesh, 9210) == "200"
    with forwarding(mesh, "service/dns", "9211:53/udp") as (_, said):
        assert said == ["Forwarding from 127.0.0.1:9211 -> 5300/udp"]
        assert echoed(mesh, 9211) == "HI\n"
    for target, ports, why in (
        ("nosuch", "80", 'pods "nosuch" not found'),
        ("svc/nosuch", "80", "nosuch.default:80 leads to no ready pod"),
        ("web", "1:2:3", "is not of the form"),
        ("web", "30080:8000", "port 30080 of 127.0.0.1 is taken"),
    ):
        done = mesh.call("port-forward", target, ports, check=False)
        assert done.returncode == 1
        assert why in done.stderr


def test_port_forward_ends_with_its_pod(mesh: Mesh) -> None:
    pod = POD.replace("NAME", "short").replace("INJECT", "false")
    mesh.call("apply", "-f", "-", "--wait", stdin=pod)
    wait_until("it is ready", lambda: mesh.pods("short")[0]["ready"])
    with forwarding(mesh, "short", "9220:8000") as (process, _):
        assert code(mesh, 9220) == "200"
        mesh.call("delete", "pod/short")
        assert process.stdout is not None
        assert "lost connection to pod short.default: it is gone" in process.stdout.read()
        assert process.wait(10) == 1


@pytest.mark.parametrize("pod", ["web", "bare"])
def test_pods_call_what_listens_on_the_hosts_loopback(mesh: Mesh, pod: str) -> None:
    assert mesh.exec(pod, "redis-cli", "-h", "host.pilotfish.internal", "-p", "16379", "ping").stdout == "PONG\n"
    assert mesh.status_code(pod, "http://host.pilotfish.internal:18080/") == "200"


def test_through_a_service_entry_and_a_workload_entry(mesh: Mesh) -> None:
    assert mesh.exec("web", "redis-cli", "-h", "redis.example.com", "set", "a", "b").stdout == "OK\n"
    assert on_host(mesh, "redis-cli", "-p", "16379", "get", "a").stdout == "b\n"
    assert mesh.status_code("web", "http://api.example.com/") == "200"
    stats = mesh.admin("web", "/clusters")
    assert "outbound|6379||redis.example.com::10." in stats
    assert "outbound|80||api.example.com::10." in stats


def test_a_program_on_all_addresses_is_called_unasked_and_one_on_loopback_is_not(mesh: Mesh) -> None:
    for pod in ("web", "bare"):
        assert mesh.status_code(pod, "http://host.pilotfish.internal:18081/") == "200"
    with started(mesh.host or NetNs.current(), sys.executable, "-c", SERVE, "127.0.0.1", "18082"):
        wait_until("it listens", lambda: code(mesh, 18082) == "200")
        assert mesh.status_code("bare", "http://host.pilotfish.internal:18082/") == "000"
        entry = (
            SERVICES.split("---")[5]
            .replace("{name: api}", "{name: late}")
            .replace("api.example.com", "late.example.com")
        )
        entry = entry.replace(
            "workloadSelector: {labels: {app: api}}",
            "endpoints: [{address: host.pilotfish.internal, ports: {http: 18082}}]",
        )
        mesh.call("apply", "-f", "-", "--wait", stdin=entry)
        try:
            assert mesh.status_code("web", "http://late.example.com/") == "200"
        finally:
            mesh.call("delete", "se/late")
        wait_until(
            "nobody relays it any more",
            lambda: mesh.status_code("bare", "http://host.pilotfish.internal:18082/") == "000",
        )
