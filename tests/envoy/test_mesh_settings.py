"""What the meshConfig says of connections to services, as servers and the kernel see it; DestinationRules prevail."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.envoy.conftest import POD4, LiveEnvoy, Start
from tests.envoy.connections import start_greeter
from tests.envoy.wire import start_wire
from tests.waiting import wait_until

MESH = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    tcpKeepalive: {time: 77s, probes: 3}
    h2UpgradePolicy: UPGRADE
    defaultHttpRetryPolicy: {attempts: 1, retryOn: 5xx}
---
"""
SERVICE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: vm}}
spec:
  hosts: [{name}.example.com]
  addresses: [10.96.1.{index}]
  resolution: STATIC
  ports: [{{number: 80, name: a, protocol: {protocol}, targetPort: 8080}}]
  endpoints: [{{address: 10.245.1.2}}]
---
"""
RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: vm}}
spec: {{host: {name}.example.com, trafficPolicy: {{connectionPool: {pool}}}}}
---
"""
ROUTE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: kept, namespace: vm}
spec: {hosts: [kept.example.com], http: [{RETRIES route: [{destination: {host: kept.example.com}}]}]}
---
"""
POOLS = {
    "plain": "",
    "declined": "{http: {h2UpgradePolicy: DO_NOT_UPGRADE}}",
    "kept": "{tcp: {tcpKeepalive: {time: 177s}}, http: {h2UpgradePolicy: DO_NOT_UPGRADE}}",
    "tcp": "",
}


def test_the_mesh_speaks_where_no_rule_does(start: Start) -> None:
    text = MESH
    for index, (name, pool) in enumerate(POOLS.items(), 1):
        text += SERVICE.format(name=name, index=index, protocol="TCP" if name == "tcp" else "HTTP")
        text += RULE.format(name=name, pool=pool) if pool else ""
    live = start(text)
    start_wire(live, "10.245.1.2", 8080, "wire")
    spoken = {name: _protocol(live, index, name) for index, name in enumerate(POOLS, 1)}
    assert spoken == {"plain": "2", "declined": "1", "kept": "1", "tcp": "1"}
    command = ["ip", "netns", "exec", live.netns, "ss", "-Htno", "state", "established", "dport", "=", ":8080"]

    def waiting() -> list[int]:
        """Connections on which nothing is under way, by the minutes left."""
        sockets = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [sockets.count(f"timer:(keepalive,{minutes}min") for minutes in (1, 2)]

    wait_until("two are of the mesh, one of its rule", lambda: waiting() == [2, 1])


def test_routes_that_say_nothing_of_retries_do_as_the_mesh_says(start: Start) -> None:
    text = MESH + ROUTE.replace("RETRIES", "")
    for index, name in enumerate(("declined", "kept"), 2):
        text += SERVICE.format(name=name, index=index, protocol="HTTP") + RULE.format(name=name, pool=POOLS[name])
    live = start(text)
    wire = start_wire(live, "10.245.1.2", 8080, "wire")
    for index, name in ((2, "declined"), (3, "kept")):
        assert "503" in live.request(live.netns, f"10.96.1.{index}", 80, f"{name}.example.com", "/status/503")
        assert wire.failed(f"{name}.example.com") == 2, "once more"


OWN = """
apiVersion: v1
kind: Service
metadata: {{name: own, namespace: vm}}
spec: {{clusterIP: 10.96.0.7, selector: {{app: webapp}}, ports: [{{name: {name}, port: 8080}}]}}
---
"""


def _mesh(config: str) -> str:
    return MESH[: MESH.index("    tcpKeepalive")] + f"    {config}\n---\n"


@pytest.mark.parametrize(
    ("mode", "listens", "expected"),
    [
        ("LOCALHOST", "127.0.0.1", "own GET /"),
        ("PASSTHROUGH", "127.0.0.1", "503 Service Unavailable"),
        ("PASSTHROUGH", POD4, "own GET /"),
    ],
)
def test_where_an_app_is_called(start: Start, mode: str, listens: str, expected: str) -> None:
    live = start(_mesh(f"inboundTrafficPolicy: {{mode: {mode}}}") + OWN.format(name="http"))
    live.start_app(live.netns, listens, 8080, "own")
    assert expected in live.request(live.peer, POD4, 8080, "own")


@pytest.mark.parametrize(
    ("name", "stated", "asked"),
    [("http", "{attempts: 3, retryOn: 5xx}", 4), ("grpc-web", "{attempts: 3, retryOn: 5xx}", 1), ("http", "{}", 1)],
)
def test_how_often_a_sidecar_asks_its_app(start: Start, name: str, stated: str, asked: int) -> None:
    live = start(_mesh(f"defaultInboundHttpRetryPolicy: {stated}") + OWN.format(name=name))
    live.start_app(live.netns, POD4, 8080, "own")
    failing = "GET /x HTTP/1.1\r\nHost: own\r\nx-answer: 503\r\nConnection: close\r\n\r\n"
    assert "503" in live.call(live.peer, POD4, 8080, failing)
    assert live.request(live.peer, POD4, 8080, "own", "/seen").count("GET /x own") == asked


BASELINE = "defaultTrafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}, outlierDetection: OUTLIERS}"


def test_the_mesh_has_a_policy_for_services_without_one(start: Start) -> None:
    text = _mesh(BASELINE.replace("OUTLIERS", "{consecutive5xxErrors: 1, maxEjectionPercent: 100}"))
    for index, (name, pool) in enumerate(POOLS.items(), 1):
        text += SERVICE.format(name=name, index=index, protocol="HTTP")
        text += RULE.format(name=name, pool=pool) if pool else ""
    text = text.replace(
        "{connectionPool: {http: {h2",
        "{outlierDetection: {interval: 9s, consecutive5xxErrors: 0}, connectionPool: {http: {h2",
    )
    live = start(text)
    start_wire(live, "10.245.1.2", 8080, "wire")
    ports = {name: {_told(live, index, name)["port"] for _ in range(3)} for index, name in enumerate(POOLS, 1)}
    assert {name: len(seen) for name, seen in ports.items()} == {"plain": 3, "declined": 1, "kept": 1, "tcp": 3}
    for index, name in enumerate(POOLS, 1):
        live.request(live.netns, f"10.96.1.{index}", 80, f"{name}.example.com", "/status/503")
    # Envoy's main thread ejects, once its worker has told it.
    wait_until("three are ejected", lambda: live.get("/clusters").count("failed_outlier_check") == 3)
    left = {
        name: "wire" in live.request(live.netns, f"10.96.1.{index}", 80, f"{name}.example.com")
        for index, name in enumerate(POOLS, 1)
    }
    assert left == {"plain": False, "declined": True, "kept": False, "tcp": False}, "who ejects its only endpoint"


COUNTED = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    outboundClusterStatName: "to %SERVICE_NAME% of %SERVICE%_%SERVICE_PORT%/%SERVICE_PORT_NAME% %SUBSET_NAME%"
    inboundClusterStatName: "in %SERVICE_FQDN%_%SERVICE_PORT% at %TARGET_PORT%"
    defaultConfig: {proxyStatsMatcher: {inclusionPrefixes: [cluster., tcp.]}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: vm}
spec: {selector: {app: webapp}, clusterIP: 10.96.1.9, ports: [{name: http, port: 80, targetPort: 8081}]}
---
apiVersion: v1
kind: Pod
metadata: {name: webapp-0, namespace: vm, labels: {app: webapp}}
spec: {containers: [{name: app, command: [x]}]}
status: {podIP: POD, phase: Running, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: vm}
spec: {host: web, subsets: [{name: v1, labels: {app: webapp}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: vm}
spec: {hosts: [web], http: [{route: [{destination: {host: web, subset: v1}}]}]}
---
""".replace("POD", POD4)


def test_the_mesh_says_under_which_names_proxies_count(start: Start) -> None:
    text = COUNTED + SERVICE.format(name="plain", index=1, protocol="HTTP")
    live = start(text + SERVICE.format(name="tcp", index=2, protocol="TCP"))
    start_wire(live, "10.245.1.2", 8080, "server")
    live.start_app(live.netns, POD4, 8081, "app")
    assert "200 OK" in live.request(live.netns, "10.96.1.1", 80, "plain.example.com")
    assert "200 OK" in live.request(live.netns, "10.96.1.2", 80, "tcp.example.com")
    assert "200 OK" in live.request(live.netns, "10.96.1.9", 80, "web.vm")
    assert "200 OK" in live.request(live.peer, POD4, 8081, "web.vm")
    told = live.get("/stats?filter=(upstream_rq_total|downstream_cx_total)$")
    counted = {name for name, _, value in (line.rpartition(": ") for line in told.splitlines()) if value != "0"}
    tcp = "to tcp.example.com of tcp.example.com_80/a "
    assert counted >= {
        "cluster.to plain.example.com of plain.example.com_80/a ;.upstream_rq_total",
        "cluster.to web of web.vm_80/http v1;.upstream_rq_total",
        "cluster.in web.vm.svc.cluster.local_80 at 8081;.upstream_rq_total",
        f"tcp.{tcp}.downstream_cx_total",
    }, counted
    assert not any("outbound|" in name for name in counted)


VISIBILITY = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "{serviceEntryVisibility: {applyToSidecars: true, defaultVisibility: NAMESPACE}}"}
---
"""


def test_the_mesh_says_who_may_see_service_entries(start: Start) -> None:
    theirs = SERVICE.format(name="theirs", index=2, protocol="HTTP").replace("namespace: vm", "namespace: shop")
    live = start(VISIBILITY + SERVICE.format(name="own", index=1, protocol="HTTP") + theirs)
    start_wire(live, "10.245.1.2", 8080, "server")
    assert "200 OK" in live.request(live.netns, "10.96.1.1", 80, "own.example.com")
    # Nobody claims the address, so that the connection goes there itself, where nobody is.
    assert "200 OK" not in live.request(live.netns, "10.96.1.2", 80, "theirs.example.com")


def _protocol(live: LiveEnvoy, index: int, name: str) -> str:
    return str(_told(live, index, name)["protocol"])


def _told(live: LiveEnvoy, index: int, name: str) -> Any:
    body = live.request(live.netns, f"10.96.1.{index}", 80, f"{name}.example.com").partition("\n\n")[2]
    return json.loads(body[body.index("{") : body.rindex("}") + 1])


TRY = MESH[: MESH.index("    tcpKeepalive")] + "    KEY: {attempts: 1, retryOn: 5xx, perTryTimeout: 0.2s}\n---\n"


@pytest.mark.parametrize("key", ["defaultHttpRetryPolicy", "defaultInboundHttpRetryPolicy"])
def test_each_try_has_its_time(start: Start, key: str) -> None:
    """Of a call of a service, and of one of the app."""
    services = SERVICE.format(name="plain", index=1, protocol="HTTP") + OWN.format(name="http")
    live = start(TRY.replace("KEY", key) + services)
    caller, called, port = (live.peer, POD4, 8080) if "Inbound" in key else (live.netns, "10.96.1.1", 80)
    server, netns = (POD4, live.netns) if "Inbound" in key else ("10.245.1.2", live.peer)
    wire = start_wire(live, server, 8080, "wire", netns=netns)
    assert "504 Gateway Timeout" in live.request(caller, called, port, "plain.example.com", "/hold/200")
    assert wire.let_go("plain.example.com") == 2


HIDDEN = """
apiVersion: v1
kind: Namespace
metadata: {name: vm, labels: {mesh: "on"}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {tier: gold}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop, namespace: shop}
spec:
  hosts: [shop.example.com]
  addresses: [10.96.1.1]
  resolution: STATIC
  ports: [{number: 80, name: a, protocol: HTTP, targetPort: 8080}]
  endpoints: [{address: 10.245.1.2}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: shop}
spec:
  hosts: [shop.example.com]
  http: [{headers: {response: {set: {x-by: route}}}, route: [{destination: {host: shop.example.com}}]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop, namespace: shop}
spec: {host: shop.example.com, trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}}
---
"""
ALL, NONE = ("there", "routed", "renewed"), ()
BY_LABELS = 'discoverySelectors: [{{matchLabels: {{mesh: "on"}}}}, {other}]'
SHOWN = {
    "{}": ALL,
    "defaultServiceExportTo: [.]": NONE,
    "defaultVirtualServiceExportTo: [.]": ("there", "renewed"),
    "defaultDestinationRuleExportTo: [.]": ("there", "routed"),
    'discoverySelectors: [{matchLabels: {mesh: "on"}}]': NONE,
    "discoverySelectors: [{matchExpressions: [{key: kubernetes.io/metadata.name, operator: Exists}]}]": ALL,
    BY_LABELS.format(other="{matchExpressions: [{key: tier, operator: In, values: [gold]}]}"): ALL,
    BY_LABELS.format(other="{matchExpressions: [{key: tier, operator: NotIn, values: [gold]}]}"): NONE,
    BY_LABELS.format(other="{matchLabels: {tier: gold}, matchExpressions: [{key: mesh, operator: DoesNotExist}]}"): ALL,
}
"""What of another namespace's a client is shown."""


def test_what_is_shown_of_another_namespace_where_nobody_says_it(start: Start) -> None:
    def mesh(config: str) -> str:
        strict = _mesh(config).replace("  mesh: |\n", "  mesh: |\n    outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n")
        return HIDDEN + strict.replace("    {}\n", "")

    live = start(mesh("{}"))
    start_wire(live, "10.245.1.2", 8080, "wire")
    found = {}
    for config in SHOWN:
        live.update(mesh(config))
        answers = [live.request(live.netns, "10.96.1.1", 80, "shop.example.com") for _ in range(2)]
        there = all("200 OK" in answer for answer in answers)
        effects = {
            "there": there,
            "routed": there and "x-by: route" in answers[0],
            "renewed": there and answers[0][answers[0].index("{") :] != answers[1][answers[1].index("{") :],
        }
        found[config] = tuple(name for name, is_seen in effects.items() if is_seen)
    assert found == SHOWN


@pytest.mark.parametrize("way", ["out", "in"])
def test_a_server_that_speaks_first_waits_as_long_as_the_mesh_says(start: Start, way: str) -> None:
    """On a port that declares no protocol; without it, for ever."""
    live = start(
        _mesh("protocolDetectionTimeout: 0.2s")
        + SERVICE.format(name="plain", index=1, protocol='""')
        + OWN.format(name="x")
    )
    start_greeter(live, "10.245.1.2" if way == "out" else POD4, 8080, live.peer if way == "out" else live.netns)
    called = (live.netns, "10.96.1.1", 80) if way == "out" else (live.peer, POD4, 8080)
    assert live.call(*called, "") == "hello\n"


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        ('accessLogFormat: "path %REQ(:PATH)%\\\\n"', "path /said"),
        ("accessLogEncoding: JSON", '"path":"/said"'),
        ('accessLogEncoding: JSON, accessLogFormat: \'{"asked": "%REQ(:PATH)%"}\'', '{"asked":"/said"}'),
    ],
)
def test_what_is_logged(start: Start, stated: str, expected: str) -> None:
    config = _mesh("LOG").replace("    LOG\n", f"    {{accessLogFile: /dev/stdout, {stated}}}\n")
    live = start(config + SERVICE.format(name="plain", index=1, protocol="HTTP"))
    start_wire(live, "10.245.1.2", 8080, "wire")
    live.request(live.netns, "10.96.1.1", 80, "plain.example.com", "/said")
    wait_until(
        "it is logged", lambda: expected in live.log.read_text().splitlines() or expected in live.log.read_text()
    )
