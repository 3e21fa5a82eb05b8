"""Traffic of other kinds than the example's: TCP, sniffed, gRPC, outside services, IPv6, own service, uncaptured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotfish.explain.accesslog import AccessLogEntry
from pilotfish.model.addresses import host_port
from tests.e2e.apps import PEERS, TALK
from tests.e2e.harness import MakeMesh, Mesh, inbound_cluster
from tests.waiting import wait_until

MANIFESTS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    accessLogFile: /dev/stdout
    outboundTrafficPolicy: {mode: %(policy)s}
---
apiVersion: v1
kind: Service
metadata: {name: server}
spec:
  selector: {app: server}
  ports:
  - {name: http, port: 80, targetPort: web}
  - {name: tcp-echo, port: 7000}
  - {name: plain, port: 9000, targetPort: web}
  - {name: grpc, port: 5000}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec:
  clusterIP: None
  selector: {app: server}
  ports: [{name: http, port: 8000}, {name: tcp-echo, port: 7000}]
---
apiVersion: v1
kind: Pod
metadata: {name: server, labels: {app: server}}
spec:
  containers:
  - name: web
    command: [python3, app.py, 0.0.0.0]
    ports: [{name: web, containerPort: 8000}]
    readinessProbe: {tcpSocket: {port: 7000}, periodSeconds: 1}
---
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec:
  containers:
  - {name: sleep, command: [sleep, infinity]}
---
apiVersion: v1
kind: Pod
metadata: {name: bare, labels: {app: bare}, annotations: {sidecar.istio.io/inject: "false"}}
spec:
  containers:
  - {name: web, command: [python3, app.py, 0.0.0.0]}
"""


def files(policy: str) -> dict[str, str]:
    return {"mesh.yaml": MANIFESTS % {"policy": policy}, "app.py": PEERS}


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    with make_mesh("e2e-traffic", files("ALLOW_ANY")) as mesh:
        yield mesh


def logged(mesh: Mesh, pod: str, cluster: str) -> AccessLogEntry:
    """The newest access log entry that names this upstream cluster."""
    return mesh.logged(pod, cluster, lambda entry: entry.upstream_cluster == cluster)


def test_a_named_target_port(mesh: Mesh) -> None:
    assert mesh.status_code("client", "http://server/") == "200"
    assert logged(mesh, "server", inbound_cluster("server.default", 8000)).response_code == 200


def test_a_tcp_port_on_which_the_server_speaks_first(mesh: Mesh) -> None:
    assert mesh.exec("client", "python3", "-c", TALK, "server").stdout.split()[::2] == ["hello", "ping"]
    entry = logged(mesh, "client", "outbound|7000||server.default.svc.cluster.local")
    assert entry.method == ""


def test_an_undeclared_port_is_sniffed_as_http(mesh: Mesh) -> None:
    assert mesh.status_code("client", "http://server:9000/") == "200"
    entry = logged(mesh, "client", "outbound|9000||server.default.svc.cluster.local")
    assert (entry.method, entry.protocol) == ("GET", "HTTP/1.1")


def test_a_headless_service_by_name(mesh: Mesh) -> None:
    assert mesh.status_code("client", "http://headless:8000/") == "200"


def test_a_headless_service_leads_to_no_family_that_it_does_not_ask_for(mesh: Mesh) -> None:
    """The echo listens on 0.0.0.0 alone, and a client tries IPv6 first if it is told an address of that family."""
    assert "hello" in mesh.exec("client", "python3", "-c", TALK, "headless").stdout


def test_a_pod_by_its_address_passes_through_and_is_logged(mesh: Mesh) -> None:
    assert mesh.status_code("client", f"http://{mesh.address('server')}:8000/") == "200"


@pytest.mark.parametrize("family", [4, 6])
def test_both_families_are_captured_on_both_sides(mesh: Mesh, family: int) -> None:
    server = mesh.address("server", family)
    local = host_port(server, 8000)
    source = "::6" if family == 6 else "127.0.0.6"
    assert mesh.curl("client", f"http://{local}/").stdout == source, "the server's proxy made the last hop"
    mesh.logged("client", local, lambda entry: entry.downstream_local_address == local)


def test_a_call_to_the_own_service_goes_through_the_own_proxy(mesh: Mesh) -> None:
    # `server` alone is the pod's own host name, in its /etc/hosts as in Kubernetes.
    assert mesh.status_code("server", "http://server.default/") == "200"
    assert logged(mesh, "server", "outbound|80||server.default.svc.cluster.local").response_code == 200


def test_loopback_is_left_alone(mesh: Mesh) -> None:
    assert mesh.curl("server", "http://127.0.0.1:8000/").stdout == "127.0.0.1"


def test_an_uncaptured_pod_has_no_proxy_and_is_reached_by_address(mesh: Mesh) -> None:
    assert mesh.pods("bare")[0].get("captured") is False
    assert "bare" not in {p["pod"] for p in mesh.status["proxies"]}
    assert mesh.status_code("client", f"http://{mesh.address('bare')}:8000/") == "200"
    answer = mesh.curl("bare", f"http://{mesh.address('server')}:8000/").stdout
    assert answer == "127.0.0.6", "the server's side is captured all the same"


def test_allow_any_lets_unknown_addresses_pass(mesh: Mesh) -> None:
    bare = mesh.address("bare")
    assert mesh.status_code("client", f"http://{bare}:8000/") == "200"
    assert logged(mesh, "client", "PassthroughCluster").downstream_local_address == f"{bare}:8000"


def test_an_unknown_host_on_a_known_port_takes_allow_any(mesh: Mesh) -> None:
    bare = mesh.address("bare")
    assert mesh.status_code("client", f"http://{bare}:8000/", "-H", "host: nobody.example") == "200"


def test_a_static_service_entry(mesh: Mesh, tmp_path: Path) -> None:
    entry = tmp_path / "outside.yaml"
    entry.write_text(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: outside}\n"
        "spec:\n  hosts: [outside.example.com]\n  addresses: [10.96.200.9]\n  resolution: STATIC\n"
        "  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8000}]\n"
        f"  endpoints: [{{address: {mesh.address('bare')}}}]\n"
    )
    mesh.call("apply", "-f", entry)
    wait_until(
        "the outside service answers", lambda: mesh.status_code("client", "http://outside.example.com/") == "200"
    )
    assert logged(mesh, "client", "outbound|80||outside.example.com").response_code == 200
    mesh.call("delete", "-f", entry)


def test_a_dns_service_entry_whose_name_cannot_be_resolved_holds_nobody_back(mesh: Mesh, tmp_path: Path) -> None:
    entry = tmp_path / "unresolvable.yaml"
    entry.write_text(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: unresolvable}\n"
        "spec:\n  hosts: [unresolvable.invalid]\n  resolution: DNS\n"
        "  ports: [{number: 80, name: http, protocol: HTTP}]\n"
        "---\napiVersion: v1\nkind: Pod\nmetadata: {name: late, labels: {app: late}}\n"
        "spec: {containers: [{name: sleep, command: [sleep, infinity]}]}\n"
    )
    mesh.call("apply", "-f", entry)
    wait_until("the pod starts", lambda: [p for p in mesh.pods("late") if p.get("ready")], within=10)
    assert mesh.status_code("late", "http://server/") == "200"
    mesh.call("delete", "-f", entry)


def test_an_endpoint_slice_for_an_address_outside(mesh: Mesh, tmp_path: Path) -> None:
    manifest = tmp_path / "slice.yaml"
    manifest.write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: database}\n"
        "spec: {ports: [{name: http, port: 80, targetPort: 8000}]}\n"
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n"
        "metadata: {name: database-1, labels: {kubernetes.io/service-name: database}}\n"
        f"endpoints: [{{addresses: [{mesh.address('bare')}]}}]\nports: [{{name: http, port: 8000}}]\n"
    )
    mesh.call("apply", "-f", manifest)
    wait_until("the database answers", lambda: mesh.status_code("client", "http://database/") == "200")
    mesh.call("delete", "-f", manifest)


def test_registry_only_blocks_what_is_unknown(make_mesh: MakeMesh) -> None:
    with make_mesh("e2e-registry", files("REGISTRY_ONLY")) as mesh:
        bare = mesh.address("bare")
        assert mesh.status_code("client", "http://server/") == "200"
        blocked = mesh.curl("client", f"http://{bare}:80/", "-o", "/dev/null", "-w", "%{http_code}", check=False)
        assert blocked.stdout == "502", "a known port: the route block_all"
        assert mesh.curl("client", f"http://{bare}:4444/", check=False).returncode != 0
        dump = json.dumps(mesh.config_dump("client"))
        assert "block_all" in dump
        mesh.logged("client", "block_all", lambda entry: (entry.route_name, entry.response_code) == ("block_all", 502))


def test_a_direct_call_to_the_capture_port_is_no_loop(mesh: Mesh) -> None:
    assert mesh.curl("client", "http://127.0.0.1:15001/", check=False).returncode != 0
    assert mesh.status_code("client", "http://server/") == "200"
