"""pilotfish in a cluster, with its sidecars' traffic captured by an init container: what its users rely on."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from collections.abc import Iterator

import pytest
import yaml

from tests.cluster import calculator, settings
from tests.cluster.calculator import WEBAPP, ask, virtual_service, weighted
from tests.cluster.conftest import own_namespace
from tests.cluster.kubectl import Kubectl
from tests.cluster.load import under_load
from tests.cluster.mesh import MESHED, Mesh, installed
from tests.cluster.node import Node
from tests.cluster.workloads import client, curl, deployment, pod, run, server, service
from tests.waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def mesh(node: Node) -> Iterator[Mesh]:
    with installed(
        node, "gateway.enabled=true", "gateway.type=NodePort", "meshConfig.accessLogFile=/dev/stdout"
    ) as mesh:
        yield mesh


@pytest.fixture(scope="module")
def _calculator(mesh: Mesh) -> Iterator[Kubectl]:
    with calculator.running(mesh.node.kubectl) as kubectl:
        yield kubectl


@pytest.fixture
def vm(_calculator: Kubectl) -> Iterator[Kubectl]:
    """kubectl in the example's namespace, where afterwards half of the requests go to each version again."""
    yield _calculator
    _calculator.apply(weighted(50, 50))


GATEWAY = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [shop.example.com]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop.example.com]
  gateways: [shop]
  http: [{route: [{destination: {host: calculator}}]}]
"""


def test_half_of_the_requests_go_to_each_version(vm: Kubectl) -> None:
    answers = ask(vm, count=60)
    assert {answer.status for answer in answers} == {200}
    counts = Counter(answer.version for answer in answers)
    assert 15 <= counts["v1"] <= 45
    assert counts["v1"] + counts["v2"] == 60


def test_a_request_passes_both_sidecars(vm: Kubectl, mesh: Mesh) -> None:
    request_id = str(uuid.uuid4())
    (answer,) = ask(vm, "-H", f"x-request-id: {request_id}")
    sent = mesh.logged(vm, WEBAPP, request_id)
    assert sent.upstream_cluster.startswith(f"outbound|8888|{answer.version}|calculator.vm.svc")
    (server,) = [pod for pod in vm.items("pods") if sent.upstream_host == f"{pod['status']['podIP']}:8888"]
    received = mesh.logged(vm, server["metadata"]["name"], request_id)
    assert received.upstream_cluster == "inbound|8888||"


def test_no_more_is_asked_of_pods_than_a_mesh_needs(vm: Kubectl) -> None:
    pod = vm.get(f"pod/{WEBAPP}")
    sidecar = next(each for each in pod["spec"]["initContainers"] if each["name"] == "istio-proxy")
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["securityContext"]["readOnlyRootFilesystem"]
    assert sidecar["securityContext"]["runAsUser"] == 1337
    assert sidecar["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_a_changed_weight_is_followed(vm: Kubectl) -> None:
    vm.apply(weighted(0, 100))
    wait_until("all goes to v2", lambda: {answer.version for answer in ask(vm, count=10)} == {"v2"}, 5)


def test_a_fault_is_injected(vm: Kubectl) -> None:
    vm.apply(virtual_service({}, fault={"abort": {"httpStatus": 418, "percentage": {"value": 100}}}))
    wait_until("it is no calculator", lambda: {answer.status for answer in ask(vm, count=5)} == {418}, 5)


def test_a_bad_virtual_service_is_refused_in_the_words_of_validate(vm: Kubectl, mesh: Mesh) -> None:
    bad = yaml.safe_dump(virtual_service({}, match=[{"uri": {"regex": "("}}]))
    said = vm.refused("apply", "--filename", "-", stdin=bad)
    found = mesh.pilotfish("validate", "-", stdin=bad, check=False)
    words = found.stdout.partition("error: ")[2].strip()
    assert "regex" in words, found
    assert words in said
    assert {answer.status for answer in ask(vm, count=5)} == {200}


def test_who_has_no_sidecar_is_refused_where_mutual_tls_is_demanded(vm: Kubectl, pods: Kubectl) -> None:
    strict = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": calculator.NAMESPACE},
        "spec": {"mtls": {"mode": "STRICT"}},
    }
    run(pods, client())
    url = "http://calculator.vm:8888/add?a=1&b=2"
    assert curl(pods, url).returncode == 0
    vm.apply(strict)
    try:
        wait_until("it is cut off", lambda: curl(pods, url).returncode != 0, 5)
        assert {answer.status for answer in ask(vm, count=10)} == {200}
        # kubelet's probes come without a certificate, too.
        vm("delete", "pod", "-l", "app=calculator,version=v1", "--wait=false")
        vm.rolled_out("deployment/calculator-v1")
    finally:
        vm("delete", "peerauthentication", "default")


def test_a_service_outside_is_reached_by_the_name_that_a_service_entry_gives_it(vm: Kubectl, pods: Kubectl) -> None:
    run(pods, server("outside"))
    address = pods.get("pod/outside")["status"]["podIP"]
    entry = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": "outside", "namespace": calculator.NAMESPACE},
        "spec": {
            "hosts": ["bank.example.com"],
            "addresses": ["192.0.2.7"],
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
            "resolution": "STATIC",
            "endpoints": [{"address": address, "ports": {"http": 8080}}],
        },
    }
    vm.apply(entry)
    try:
        by_name = ("--resolve", "bank.example.com:80:192.0.2.7")

        def answers() -> set[tuple[int, str]]:
            return {(each.status, each.body) for each in ask(vm, *by_name, url="http://bank.example.com/", count=3)}

        wait_until("the outside answers", lambda: answers() == {(200, "outside")}, 5)
    finally:
        vm("delete", "serviceentry", "outside")


def test_from_outside_one_comes_in_through_the_gateway(vm: Kubectl, mesh: Mesh) -> None:
    vm.apply(GATEWAY)
    try:
        ports = mesh.root.get("service/istio-ingressgateway")["spec"]["ports"]
        port = next(each["nodePort"] for each in ports if each["port"] == 80)
        url = f"http://{settings.ADDRESS}:{port}/add?a=40&b=2"
        asked = ("curl", "-sS", "-m", "5", "-H", "Host: shop.example.com", url)
        said = wait_until(
            "the gateway answers",
            lambda: (done := mesh.node.run(*asked, check=False)).returncode == 0 and done.stdout,
            10,
        )
        assert json.loads(said)["result"] == 42
    finally:
        vm("delete", "gateway/shop", "virtualservice/shop")


def test_no_request_fails_while_pods_are_replaced(vm: Kubectl) -> None:
    with under_load(vm, WEBAPP, "calculator:8888/add?a=1&b=2", container="webapp") as load:
        for version in ("v1", "v2"):
            vm("rollout", "restart", f"deployment/calculator-{version}")
        for version in ("v1", "v2"):
            vm.rolled_out(f"deployment/calculator-{version}")
        vm.wait_until(
            "the old ones have gone",
            "pods",
            "-l",
            "app=calculator",
            holds=lambda all: len(all["items"]) == 2,
            within=90,
        )
    assert load.failed == []
    assert load.asked > 100


def test_no_request_fails_while_a_replica_of_discovery_is_killed_and_changes_go_on(vm: Kubectl, mesh: Mesh) -> None:
    wait_until("two replicas are there", lambda: len(mesh.replicas()) == 2, 60)
    with under_load(vm, WEBAPP, "calculator:8888/add?a=1&b=2", container="webapp") as load:
        for killed in mesh.replicas():
            mesh.root("delete", "pod", killed["metadata"]["name"], "--grace-period=0", "--force")
            vm.apply(weighted(0, 100))
            wait_until("all goes to v2", lambda: {answer.version for answer in ask(vm, count=10)} == {"v2"}, 10)
            vm.apply(weighted(100, 0))
            wait_until("all goes to v1", lambda: {answer.version for answer in ask(vm, count=10)} == {"v1"}, 10)
            mesh.root.rolled_out("deployment/pilotfish")
    assert load.failed == []


def test_no_request_fails_while_the_api_server_is_away_and_changes_go_on_afterwards(vm: Kubectl, mesh: Mesh) -> None:
    with under_load(vm, WEBAPP, "calculator:8888/add?a=1&b=2", container="webapp") as load:
        mesh.node.end("kube-apiserver")
        time.sleep(3)
        mesh.node.start("kube-apiserver")
        mesh.node.await_ready()
        vm.apply(weighted(0, 100))
        wait_until("all goes to v2", lambda: {answer.version for answer in ask(vm, count=10)} == {"v2"}, 10)
    assert load.failed == []


def test_a_change_is_live_in_twenty_pods_within_300_ms(vm: Kubectl, mesh: Mesh) -> None:
    with own_namespace(mesh.node.kubectl, **MESHED) as many:
        many.apply(deployment("many", 20))
        many.rolled_out("deployment/many", within=240)
        times = [mesh.change_took(vm, weighted(share, 100 - share)) for share in (10, 20, 30, 40, 60)]
    assert sorted(times)[2] < 0.3, times


def test_the_apps_probes_are_asked_through_the_sidecar(mesh: Mesh) -> None:
    with own_namespace(mesh.node.kubectl, **MESHED) as meshed:
        run(meshed, server("web"))
        assert meshed.get("pod/web")["spec"]["containers"][0]["readinessProbe"]["httpGet"]["port"] == 15020
        meshed.exec("web", "rm", "/www/index.html", container="app")
        meshed.wait("condition=Ready=False", "pod/web")
        meshed.exec("web", "sh", "-c", "echo again > /www/index.html", container="app")
        meshed.wait("condition=Ready", "pod/web")


def test_a_namespace_that_is_made_again_is_in_the_mesh_again(mesh: Mesh) -> None:
    kubectl = mesh.node.kubectl
    with own_namespace(kubectl, **MESHED) as meshed:
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": meshed.namespace, "labels": MESHED}}
        for _ in range(2):
            run(meshed, server("web"), service("web"), client())
            assert curl(meshed, "http://web/", "-v", check=True).stdout == "web\n"
            assert "server: envoy" in curl(meshed, "http://web/", "-v").stderr
            kubectl("delete", "namespace", meshed.namespace, timeout=120)
            kubectl.apply(manifest)
            meshed.wait("create", "serviceaccount/default")


def test_a_job_ends_though_its_sidecar_would_not(mesh: Mesh) -> None:
    with own_namespace(mesh.node.kubectl, **MESHED) as meshed:
        template = {"spec": {"restartPolicy": "Never", **pod("job", "true")["spec"]}}
        job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": {"template": template}}
        meshed.apply(job)
        meshed.wait("condition=Complete", "job/job")


def test_a_kubelet_is_restarted_and_nothing_fails_but_what_it_calls_unready(vm: Kubectl, mesh: Mesh) -> None:
    with under_load(vm, WEBAPP, "calculator:8888/add?a=1&b=2", container="webapp") as load:
        mesh.node.end("kubelet")
        mesh.node.start("kubelet")
        vm("rollout", "restart", "deployment/calculator-v1")
        vm.rolled_out("deployment/calculator-v1")
    # One that starts calls each pod with a readiness probe unready until it has asked it; there is one a version.
    assert {failure.partition(" ")[2] for failure in load.failed} <= {"503 no healthy upstream"}


def test_no_pod_comes_without_a_sidecar_while_nobody_injects(mesh: Mesh) -> None:
    with own_namespace(mesh.node.kubectl, **MESHED) as meshed:
        mesh.root("scale", "deployment/pilotfish", "--replicas", "0")
        mesh.root.wait("delete", "pod", "-l", "app=istiod")
        try:
            assert "failed calling webhook" in meshed.refused(
                "apply", "--filename", "-", stdin=yaml.safe_dump(client())
            )
        finally:
            mesh.root("scale", "deployment/pilotfish", "--replicas", "2")
            mesh.root.rolled_out("deployment/pilotfish")
        run(meshed, client())
        assert "istio-proxy" in {each["name"] for each in meshed.get("pod/client")["spec"]["initContainers"]}
