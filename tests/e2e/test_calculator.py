"""The seed's scenario, whole: webapp calls calculator through both sidecars, and all that one can ask about it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pilotfish.explain.accesslog import AccessLogEntry
from tests.e2e.harness import ADD, CALCULATOR, WEBAPP, MakeMesh, Mesh, inbound_cluster, run

HOST = "calculator.vm.svc.cluster.local"


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    """The example, with its web application on a port of the host's choice."""
    with make_mesh("e2e-calculator", CALCULATOR, "--publish", "0:webapp.vm:8889") as mesh:
        yield mesh


@pytest.fixture(scope="module")
def dump(mesh: Mesh) -> dict[str, Any]:
    """webapp's live config dump, by kind."""
    return by_kind(mesh.config_dump(WEBAPP))


@pytest.fixture(scope="module")
def server_dump(mesh: Mesh) -> dict[str, Any]:
    return by_kind(mesh.config_dump("deploy/calculator-v1.vm"))


def by_kind(dump: dict[str, Any]) -> dict[str, Any]:
    return {c["@type"].rpartition(".")[2]: c for c in dump["configs"]}


def listeners(dump: dict[str, Any]) -> dict[str, Any]:
    found = dump["ListenersConfigDump"]["dynamic_listeners"]
    return {entry["name"]: entry["active_state"]["listener"] for entry in found}


def clusters(dump: dict[str, Any]) -> dict[str, Any]:
    return {c["cluster"]["name"]: c["cluster"] for c in dump["ClustersConfigDump"]["dynamic_active_clusters"]}


def routes(dump: dict[str, Any]) -> dict[str, Any]:
    return {r["route_config"]["name"]: r["route_config"] for r in dump["RoutesConfigDump"]["dynamic_route_configs"]}


def filter_names(chain: dict[str, Any]) -> list[str]:
    return [f["name"].rpartition(".")[2] for f in chain["filters"]]


def add(mesh: Mesh, host: str = "calculator:8888") -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(mesh.curl(WEBAPP, f"http://{host}/add?a=1&b=2").stdout)
    return answer


def logged(mesh: Mesh, pod: str, request_id: str) -> AccessLogEntry:
    return mesh.logged(pod, f"request {request_id}", lambda entry: entry.request_id == request_id)


def test_half_of_the_requests_go_to_each_version(mesh: Mesh) -> None:
    script = "for i in $(seq 200); do curl -sS 'http://calculator:8888/add?a=1&b=2'; done"
    answers = [json.loads(line) for line in mesh.exec(WEBAPP, "sh", "-c", script).stdout.splitlines()]
    assert {a["result"] for a in answers} == {3.0}
    versions = Counter(a["version"] for a in answers)
    # 200 draws at 1/2: outside 65..135 once in a million runs.
    assert versions.keys() == {"v1", "v2"}
    assert 65 <= versions["v1"] <= 135


def test_the_host_reaches_a_service_on_its_published_port(mesh: Mesh) -> None:
    (published,) = mesh.status["published"]
    answer = json.loads(run("curl", "-sS", "-m", "10", f"http://{published['address']}/add?a=20&b=22").stdout)
    assert answer["result"] == 42


def test_the_host_reaches_a_pod_by_its_address(mesh: Mesh) -> None:
    address = mesh.pods("webapp")[0]["addresses"][0]
    assert json.loads(run("curl", "-sS", "-m", "10", f"http://{address}:8889/add?a=1&b=1").stdout)["result"] == 2


@pytest.mark.parametrize("host", ["calculator", "calculator.vm", "calculator.vm.svc", HOST, HOST + "."])
def test_every_name_form_of_the_service_works(mesh: Mesh, host: str) -> None:
    assert add(mesh, f"{host}:8888")["result"] == 3


@pytest.mark.parametrize(
    "authority",
    [
        form + port
        for form in (HOST, "calculator.vm.svc.cluster", "calculator.vm.svc", "calculator.vm", "calculator")
        for port in ("", ":8888")
    ],
)
def test_every_domain_form_of_the_seed_takes_the_route(mesh: Mesh, authority: str) -> None:
    answer = mesh.curl(WEBAPP, ADD, "-H", f"host: {authority}")
    assert json.loads(answer.stdout)["result"] == 3


def test_the_cluster_ip_takes_the_route(mesh: Mesh) -> None:
    service = next(s for s in mesh.status["services"] if s["name"] == "calculator")
    assert {add(mesh, f"{service['cluster_ip']}:8888")["version"] for _ in range(20)} == {"v1", "v2"}


def test_both_sides_log_the_request_in_istios_format(mesh: Mesh) -> None:
    answer = json.loads(mesh.curl(WEBAPP, ADD, "-H", "x-request-id: both-sides").stdout)
    server_pod = next(p for p in mesh.pods("calculator") if p["name"] == answer["pod"])
    client = logged(mesh, WEBAPP, "both-sides")
    server = logged(mesh, f"{answer['pod']}.vm", "both-sides")
    assert client.upstream_cluster == f"outbound|8888|{answer['version']}|{HOST}"
    assert client.upstream_host == f"{server_pod['addresses'][0]}:8888"
    assert client.downstream_local_address.endswith(":8888")
    assert client.response_code == server.response_code == 200
    assert client.response_flags == ()
    assert server.upstream_cluster == inbound_cluster(f"{answer['pod']}.vm", 8888)
    assert server.upstream_local_address.startswith("127.0.0.6:")
    assert server.upstream_host == client.upstream_host
    assert server.route_name == "default"


@pytest.mark.sidecars
def test_virtual_outbound(dump: dict[str, Any]) -> None:
    listener = listeners(dump)["virtualOutbound"]
    assert listener["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 15001}
    assert listener["use_original_dst"] is True
    loop, catch_all = listener["filter_chains"]
    assert loop["filter_chain_match"]["destination_port"] == 15001
    assert loop["filters"][0]["typed_config"]["cluster"] == "BlackHoleCluster"
    assert catch_all["filters"][-1]["typed_config"]["cluster"] == "PassthroughCluster"


@pytest.mark.sidecars
def test_outbound_listener_of_a_declared_http_port(dump: dict[str, Any]) -> None:
    listener = listeners(dump)["0.0.0.0_8888"]
    assert listener["bind_to_port"] is False
    assert listener["traffic_direction"] == "OUTBOUND"
    assert listener["continue_on_listener_filters_timeout"] is True
    manager = next(
        f["typed_config"]
        for chain in [*listener.get("filter_chains", []), listener.get("default_filter_chain", {"filters": []})]
        for f in chain["filters"]
        if f["name"].endswith("http_connection_manager")
    )
    assert manager["rds"]["route_config_name"] == "8888"
    assert "ads" in manager["rds"]["config_source"]
    assert [f["name"].rpartition(".")[2] for f in manager["http_filters"]][-3:] == ["fault", "cors", "router"]
    assert manager["use_remote_address"] is False
    assert manager["stream_idle_timeout"] == "0s"
    assert manager["normalize_path"] is True
    assert manager["upgrade_configs"] == [{"upgrade_type": "websocket"}]


@pytest.mark.sidecars
def test_outbound_route(dump: dict[str, Any]) -> None:
    hosts = {v["name"]: v for v in routes(dump)["8888"]["virtual_hosts"]}
    calculator = hosts[f"{HOST}:8888"]
    assert {HOST, "calculator.vm.svc.cluster", "calculator.vm.svc", "calculator.vm", "calculator"} <= set(
        calculator["domains"]
    )
    route = calculator["routes"][0]
    weighted = {c["name"]: c["weight"] for c in route["route"]["weighted_clusters"]["clusters"]}
    assert weighted == {f"outbound|8888|v1|{HOST}": 50, f"outbound|8888|v2|{HOST}": 50}
    assert route["decorator"]["operation"]
    assert hosts["allow_any"]["routes"][0]["route"]["cluster"] == "PassthroughCluster"


@pytest.mark.sidecars
def test_outbound_clusters(dump: dict[str, Any]) -> None:
    found = clusters(dump)
    for subset in ("", "v1", "v2"):
        cluster = found[f"outbound|8888|{subset}|{HOST}"]
        assert cluster["type"] == "EDS"
        assert "ads" in cluster["eds_cluster_config"]["eds_config"]
        assert cluster["circuit_breakers"]["thresholds"][0]["max_connections"] == 2**32 - 1
        istio = cluster["metadata"]["filter_metadata"]["istio"]
        assert istio["config"] == "/apis/networking.istio.io/v1/namespaces/vm/destination-rule/calculator"
    assert found["BlackHoleCluster"]["type"] == "STATIC"
    assert found["PassthroughCluster"]["type"] == "ORIGINAL_DST"
    assert found["InboundPassthroughCluster"]["type"] == "ORIGINAL_DST"


@pytest.mark.sidecars
def test_endpoints_by_subset(mesh: Mesh, dump: dict[str, Any]) -> None:
    addresses = {p["labels"]["version"]: p["addresses"][0] for p in mesh.pods("calculator")}
    found = {
        e["endpoint_config"]["cluster_name"]: {
            lb["endpoint"]["address"]["socket_address"]["address"]
            for locality in e["endpoint_config"].get("endpoints", [])
            for lb in locality["lb_endpoints"]
        }
        for e in dump["EndpointsConfigDump"]["dynamic_endpoint_configs"]
    }
    assert found[f"outbound|8888|v1|{HOST}"] == {addresses["v1"]}
    assert found[f"outbound|8888|v2|{HOST}"] == {addresses["v2"]}
    assert found[f"outbound|8888||{HOST}"] == set(addresses.values())


@pytest.mark.sidecars
def test_inbound(server_dump: dict[str, Any]) -> None:
    listener = listeners(server_dump)["virtualInbound"]
    assert listener["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 15006}
    chains = listener["filter_chains"]
    own = next(c for c in chains if c.get("filter_chain_match", {}).get("destination_port") == 8888)
    manager = own["filters"][-1]["typed_config"]
    route = manager["route_config"]["virtual_hosts"][0]["routes"][0]
    assert manager["route_config"]["name"] == "inbound|8888||"
    assert route["route"]["cluster"] == "inbound|8888||"
    assert route["decorator"]["operation"] == f"{HOST}:8888/*"
    names = {c["name"] for c in chains}
    assert {"virtualInbound", "virtualInbound-catchall-http", "virtualInbound-blackhole"} <= names
    cluster = clusters(server_dump)["inbound|8888||"]
    assert cluster["upstream_bind_config"]["source_address"]["address"] == "127.0.0.6"


@pytest.mark.sidecars
def test_the_bootstrap_is_the_seeds(mesh: Mesh) -> None:
    bootstrap = mesh.json("proxy-config", "bootstrap", WEBAPP)
    node = bootstrap.get("bootstrap", bootstrap)["node"]
    assert node["id"] == f"sidecar~{mesh.pods('webapp')[0]['addresses'][0]}~webapp-0.vm~vm.svc.cluster.local"
    assert (Path(mesh.pods("webapp")[0]["directory"]) / "envoy-rev0.json").is_file()


@pytest.mark.sidecars
def test_ports_are_those_of_the_seed(mesh: Mesh) -> None:
    listening = mesh.exec(WEBAPP, "cat", "/proc/net/tcp", "/proc/net/tcp6").stdout.splitlines()
    ports = {int(line.split()[1].rpartition(":")[2], 16) for line in listening if line.split()[3] == "0A"}
    assert {15000, 15001, 15006, 15020, 15021, 15053, 15090, 8889} <= ports


@pytest.mark.sidecars
def test_discoverys_debug_pages(mesh: Mesh) -> None:
    """Open to the machine's users; a pod reads of itself alone."""
    monitoring = mesh.status["discovery"]["monitoring_address"]

    def get(path: str) -> Any:
        return run("curl", "-sS", "-m", "5", f"http://{monitoring}{path}").stdout

    assert f"outbound|8888|v2|{HOST}" in get("/debug/edsz")
    assert "webapp-0.vm" in get("/debug/syncz")
    assert "webapp-0.vm" in get("/debug/adsz")
    assert HOST in get("/debug/registryz")
    assert "DestinationRule" in get("/debug/configz")
    assert "virtualOutbound" in get(f"/debug/config_dump?proxyID={WEBAPP}")
    assert "pilot_xds" in get("/metrics")


def test_merged_metrics_and_readiness(mesh: Mesh) -> None:
    metrics = mesh.curl(WEBAPP, "http://127.0.0.1:15020/stats/prometheus").stdout
    assert "envoy_" in metrics
    assert mesh.status_code(WEBAPP, "http://127.0.0.1:15020/healthz/ready") == "200"
    assert mesh.status_code(WEBAPP, "http://127.0.0.1:15021/healthz/ready") == "200"


def test_only_loopback_may_quit(mesh: Mesh) -> None:
    address = mesh.pods("webapp")[0]["addresses"][0]
    answer = run("curl", "-sS", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "-X", "POST",
                 f"http://{address}:15020/quitquitquit")  # fmt: skip
    assert answer.stdout == "403"


def test_exec_passes_exit_code_and_streams(mesh: Mesh) -> None:
    assert mesh.exec(WEBAPP, "sh", "-c", "exit 7", check=False).returncode == 7
    assert mesh.exec(WEBAPP, "cat", stdin="through\n").stdout == "through\n"
    assert mesh.exec(WEBAPP, "sh", "-c", "echo wrong >&2").stderr == "wrong\n"
    assert mesh.exec(WEBAPP, "no-such-command", check=False).returncode == 127


@pytest.mark.sidecars
def test_status_and_get(mesh: Mesh) -> None:
    status = mesh.status
    assert status["ready"] is True
    assert status.get("problems", []) == []
    assert {p["pod"] for p in status["proxies"]} == {p["name"] for p in status["pods"]}
    assert all(p["sync"]["types"]["cds"] == p["sync"]["types"]["rds"] == "SYNCED" for p in status["proxies"])
    pods = mesh.call("get", "pods", "-n", "vm").stdout.splitlines()
    assert pods[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert any(line.split()[:3] == ["webapp-0", "2/2", "Running"] for line in pods[1:])
    assert "calculator" in mesh.call("get", "services", "-n", "vm").stdout
    assert "SYNCED" in mesh.call("get", "proxies").stdout


def test_proxy_config_tables(mesh: Mesh) -> None:
    assert "0.0.0.0" in mesh.call("proxy-config", "listeners", WEBAPP).stdout
    assert "allow_any" in mesh.call("proxy-config", "routes", WEBAPP).stdout
    assert "calculator.vm.svc.cluster.local" in mesh.call("proxy-config", "clusters", WEBAPP).stdout
    assert "8888" in mesh.call("proxy-config", "endpoints", WEBAPP).stdout


def test_the_rules_are_istios_chains(mesh: Mesh) -> None:
    netns = Path(mesh.pods("webapp")[0]["netns"]).name
    for save in ("iptables-save", "ip6tables-save"):
        saved = run("ip", "netns", "exec", netns, save, "-t", "nat").stdout
        for chain in ("ISTIO_INBOUND", "ISTIO_IN_REDIRECT", "ISTIO_OUTPUT", "ISTIO_REDIRECT"):
            assert f":{chain} " in saved


def test_nothing_of_the_hosts_rules_changed(mesh: Mesh) -> None:
    assert "ISTIO" not in run("iptables-save").stdout
    assert "ISTIO" not in run("nft", "list", "ruleset", check=False).stdout
