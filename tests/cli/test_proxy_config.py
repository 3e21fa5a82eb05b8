"""`pilotfish proxy-config`: Envoy's words as istioctl shows them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from pilotfish.cli.render.bootstrap import render_bootstrap
from pilotfish.cli.render.clusters import render_clusters, select_clusters
from pilotfish.cli.render.dump import resources
from pilotfish.cli.render.endpoints import EndpointFilter, render_endpoints, select_endpoints
from pilotfish.cli.render.listeners import render_listeners, select_listeners
from pilotfish.cli.render.routes import render_routes, select_routes
from pilotfish.runtime.linux.netns import NetNs
from tests.cli.conftest import Invoke
from tests.cli.fakes import FakeMesh, pod

HERE = Path(__file__).parent
DUMP: dict[str, Any] = yaml.safe_load((HERE / "dump.yaml").read_text())
CLUSTERS: dict[str, Any] = yaml.safe_load((HERE / "clusters.yaml").read_text())

LISTENERS = """\
ADDRESSES    PORT    MATCH                                                                       DESTINATION
0.0.0.0      8888    App: http/1.1,h2c                                                           Route: 8888
0.0.0.0      8888    ALL                                                                         \
Cluster: outbound|8888||calculator.vm.svc.cluster.local
0.0.0.0,::   15006   Addr: *:15006                                                               BlackHoleCluster
0.0.0.0,::   15006   Trans: raw_buffer; Addr: *:8889                                             Cluster: inbound|8889||
0.0.0.0,::   15006   SNI: a.example,b.example; App: TCP TLS; Addr: 10.0.0.0/8,0.0.0.0/0   Cluster: a (1), b (2)
0.0.0.0,::   15006   ALL                                                                         Non-HTTP/Non-TCP
0.0.0.0      15090   ALL                                                                         \
Inline Route: /stats/prometheus*, /ready; a/b regex /v[0-9]+
"""

ROUTES = """\
NAME             VHOST NAME                             DOMAINS                                 \
MATCH                                   VIRTUAL SERVICE
80               allow_any                              *                                       \
/*
8888             calculator.vm.svc.cluster.local:8888   calculator, calculator.vm + 2 more...   \
/* x-canary=yes !x-old x-kind~a.*       calculator.vm
8888             calculator.vm.svc.cluster.local:8888   calculator, calculator.vm + 2 more...   \
/api*
8888             empty                                  nobody.example                          \
/*                                      404
8888             block_all                              *                                       \
/*                                      502
inbound|8889||   inbound|http|8889                      *                                       \
/*
"""

CLUSTER_TABLE = """\
SERVICE FQDN                      PORT   SUBSET   DIRECTION   TYPE                DESTINATION RULE
                                  8889   -        inbound     ORIGINAL_DST
BlackHoleCluster                  -      -        -           STATIC
api.example.com                   443    -        outbound    envoy.cluster.dns
calculator.vm.svc.cluster.local   8888   -        outbound    EDS                 calculator.vm
calculator.vm.svc.cluster.local   8888   v1       outbound    EDS                 calculator.vm
xds-grpc                          -      -        -           STRICT_DNS
"""

ENDPOINTS = """\
ENDPOINT          STATUS      OUTLIER CHECK   CLUSTER
unix://./xds      HEALTHY     OK              prometheus
10.244.0.3:8888   HEALTHY     OK              outbound|8888|v1|calculator.vm.svc.cluster.local
10.244.0.4:8888   UNHEALTHY   FAILED          outbound|8888|v1|calculator.vm.svc.cluster.local
[::1]:15020       HEALTHY     OK              prometheus
"""

BOOTSTRAP = """\
Envoy Version: 1.40.0
Node ID: sidecar~10.244.0.2~webapp-0.vm~vm.svc.cluster.local
Admin: 127.0.0.1:15000
xDS: 10.244.0.1:15010
"""


def squeeze(text: str) -> list[list[str]]:
    """Cells of a table, however wide its columns are."""
    return [[cell for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]


def test_listeners() -> None:
    text = render_listeners(select_listeners(resources(DUMP, "listeners"))).text()
    assert [[c.strip() for c in row] for row in squeeze(text)] == [
        [c.strip() for c in row] for row in squeeze(LISTENERS)
    ]


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ({"port": 8888}, ["0.0.0.0_8888"]),
        ({"kind": "http"}, ["metrics"]),
        ({"kind": "HTTP+TCP"}, ["0.0.0.0_8888", "virtualInbound"]),
        ({"address": "10.0.0.1"}, []),
    ],
)
def test_listeners_are_selected(chosen: dict[str, Any], names: list[str]) -> None:
    assert [each["name"] for each in select_listeners(resources(DUMP, "listeners"), **chosen)] == names


def test_routes() -> None:
    assert squeeze(render_routes(select_routes(resources(DUMP, "routes"))).text()) == squeeze(ROUTES)
    assert [each["name"] for each in select_routes(resources(DUMP, "routes"), "80")] == ["80"]


def test_clusters() -> None:
    assert render_clusters(select_clusters(resources(DUMP, "clusters"))).text() == CLUSTER_TABLE


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        ({"fqdn": "calculator"}, 2),
        ({"subset": "v1"}, 1),
        ({"direction": "inbound"}, 1),
        ({"port": 443}, 1),
        ({"fqdn": "BlackHole"}, 1),
        ({"fqdn": "calculator", "port": 1}, 0),
    ],
)
def test_clusters_are_selected(chosen: dict[str, Any], count: int) -> None:
    assert len(select_clusters(resources(DUMP, "clusters"), **chosen)) == count


def test_endpoints() -> None:
    assert render_endpoints(select_endpoints(CLUSTERS, EndpointFilter())).text() == ENDPOINTS


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        (EndpointFilter(status="unhealthy"), 1),
        (EndpointFilter(address="10.244.0.3"), 1),
        (EndpointFilter(cluster="prometheus"), 2),
        (EndpointFilter(fqdn="calculator", direction="outbound", subset="v1"), 2),
        (EndpointFilter(fqdn="prometheus"), 0),
        (EndpointFilter(port=1), 0),
    ],
)
def test_endpoints_are_selected(chosen: EndpointFilter, count: int) -> None:
    assert len(render_endpoints(select_endpoints(CLUSTERS, chosen)).rows) == count


def test_bootstrap() -> None:
    assert render_bootstrap(DUMP["configs"][0]) == BOOTSTRAP


@pytest.mark.parametrize("mode", ["allow-any", "registry-only"])
def test_a_real_istios_dump_is_readable(conformance: Path, mode: str) -> None:
    dump = json.loads((conformance / "istio" / mode / "webapp-0.config_dump.json").read_text())
    listeners = render_listeners(select_listeners(resources(dump, "listeners"))).rows
    assert ("0.0.0.0", "8888", "Trans: raw_buffer; App: http/1.1,h2c", "Route: 8888") in listeners
    otherwise = "PassthroughCluster" if mode == "allow-any" else "BlackHoleCluster"
    assert ("0.0.0.0", "15001", "ALL", otherwise) in listeners
    routes = render_routes(select_routes(resources(dump, "routes"))).rows
    assert any(row[0] == "8888" and row[4] == "calculator.vm" for row in routes)


class _Admin(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answers = {"/config_dump?include_eds": DUMP, "/clusters?format=json": CLUSTERS}
        self.send_response(200 if self.path in answers else 404)
        self.end_headers()
        self.wfile.write(json.dumps(answers.get(self.path)).encode())

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def envoy(mesh: FakeMesh, netns: NetNs) -> Iterator[FakeMesh]:
    """A pod in a namespace of its own, where something answers as Envoy's admin does."""
    with netns.entered():
        server = ThreadingHTTPServer(("127.0.0.1", 15000), _Admin)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    mesh.set(pods=(pod("webapp-0", netns=str(netns.path)), pod("bare", netns=str(netns.path), captured=False)))
    yield mesh
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_pods_own_envoy_is_asked(envoy: FakeMesh, invoke: Invoke) -> None:
    assert invoke("pc", "clusters", "webapp-0").stdout == CLUSTER_TABLE
    assert invoke("proxy-config", "cluster", "webapp-0.vm").stdout == CLUSTER_TABLE
    assert invoke("pc", "ep", "webapp-0").stdout == ENDPOINTS
    assert invoke("pc", "listener", "webapp-0", "--port", "15090").stdout.count("\n") == 2
    assert invoke("pc", "bootstrap", "webapp-0", "-o", "short").stdout == BOOTSTRAP
    assert json.loads(invoke("pc", "bootstrap", "webapp-0").stdout) == {"bootstrap": DUMP["configs"][0]["bootstrap"]}


def test_json_and_yaml_are_the_resources(envoy: FakeMesh, invoke: Invoke) -> None:
    assert json.loads(invoke("pc", "--name", "demo", "all", "webapp-0", "-o", "json").stdout) == DUMP
    clusters = yaml.safe_load(invoke("pc", "clusters", "webapp-0", "--subset", "v1", "-o", "yaml").stdout)
    assert [each["name"] for each in clusters] == ["outbound|8888|v1|calculator.vm.svc.cluster.local"]
    endpoints = json.loads(invoke("pc", "endpoints", "webapp-0", "--address", "10.244.0.3", "-o", "json").stdout)
    assert len(endpoints) == len(endpoints[0]["host_statuses"]) == 1


def test_all_is_every_table(envoy: FakeMesh, invoke: Invoke) -> None:
    first_words = [line.split()[0] for line in invoke("pc", "all", "webapp-0").stdout.splitlines() if line]
    assert [word for word in first_words if word.isupper()] == ["SERVICE", "ADDRESSES", "NAME", "ENDPOINT"]


def test_routes_by_their_name(envoy: FakeMesh, invoke: Invoke) -> None:
    """`--name` is the mesh's, here too: the hint that several meshes run leads nowhere else."""
    assert invoke("pc", "routes", "webapp-0", "--route", "80", "--name", "demo").stdout.count("\n") == 2
    assert invoke("pc", "routes", "webapp-0", "--name", "80").stderr == (
        'error: no mesh named "80" is running; running: demo; a route is meant by --route 80\n'
    )


def test_a_pod_without_a_sidecar(envoy: FakeMesh, invoke: Invoke) -> None:
    result = invoke("pc", "routes", "bare")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: pod bare.vm has no sidecar")


def test_an_envoy_that_does_not_answer(mesh: FakeMesh, invoke: Invoke) -> None:
    result = invoke("pc", "routes", "webapp-0")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "/run/netns/none" in result.stderr


def test_what_a_machines_proxy_calls_otherwise_is_found_by_its_usual_name() -> None:
    routes = [{"name": name} for name in ("90~vm", "80~vm", "80~shop", "80", "9080~vm")]
    assert [each["name"] for each in select_routes(routes, "80")] == ["80", "80~shop", "80~vm"]
    assert [each["name"] for each in select_routes(routes, "80~vm")] == ["80~vm"]
    assert [each["name"] for each in select_routes(routes)] == ["80", "80~shop", "80~vm", "90~vm", "9080~vm"]
    host = {"address": {"socket_address": {"address": "10.0.0.1", "port_value": 80}}}
    clusters = {
        "cluster_statuses": [{"name": f"outbound|80||web{mark}", "host_statuses": [host]} for mark in ("~3f2a", "x")]
    }
    found = select_endpoints(clusters, EndpointFilter(cluster="outbound|80||web"))
    assert [each["name"] for each in found] == ["outbound|80||web~3f2a"]


def test_a_machines_listeners_say_in_which_pod_they_are() -> None:
    at = {"socket_address": {"address": "0.0.0.0", "port_value": 15006, "network_namespace_filepath": "/run/netns/x"}}
    listeners = [
        {"name": "virtualInbound~web-0.vm", "address": at, "filter_chains": [{}]},
        {
            "name": "0.0.0.0_80",
            "address": {"socket_address": {"address": "0.0.0.0", "port_value": 80}},
            "filter_chains": [{}],
        },
    ]
    lines = render_listeners(select_listeners(listeners)).text().splitlines()
    assert [line.split()[0] for line in lines] == ["POD", "0.0.0.0", "web-0.vm"]
    assert render_listeners(listeners, "/run/netns/x").text().startswith("ADDRESSES")
