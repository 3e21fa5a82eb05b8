"""Commands against a cluster whose pods run: what discovery and real Envoys say, through the API server's port-forward.

Discovery and agents are this checkout's, which the node sees; nothing is captured, as that is others' to test.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.conftest import own_namespace
from tests.cluster.images import TOOLS
from tests.cluster.kubectl import Kubectl, Object
from tests.cluster.node import Node
from tests.cluster.pki import Pki
from tests.waiting import wait_until

pytestmark = pytest.mark.long
ROOT = Path(__file__).parents[2]
REVISION = "commands"
_MAIN = "import sys; sys.argv[0] = 'pilotfish'; from pilotfish.cli import main; main()"
_LIBRARIES = f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}"
_SEEN = {"code": str(ROOT), "packages": sysconfig.get_path("purelib"), "libraries": _LIBRARIES}
_INIT = {"name": "istio-init", "image": TOOLS, "command": ["true"], "args": ["-b", "*", "-i", "*"]}


def program(name: str, *arguments: str, **fields: Any) -> Object:
    """A container that runs pilotfish."""
    path = f"{sysconfig.get_path('purelib')}:{ROOT / 'src'}"
    environment = [{"name": "PYTHONPATH", "value": path}, {"name": "PYTHONDONTWRITEBYTECODE", "value": "1"}]
    mounts = [{"name": each, "mountPath": place, "readOnly": True} for each, place in _SEEN.items()]
    own_mounts, own = fields.pop("mounts", []), fields.pop("env", [])
    return {
        "name": name,
        "image": TOOLS,
        "command": ["/usr/bin/python3", "-c", _MAIN],
        "args": list(arguments),
        "env": [*environment, *own],
        "volumeMounts": [*mounts, *own_mounts],
        **fields,
    }


def deployment(name: str, replicas: int, containers: list[Object], **labels: str) -> Object:
    labels = {"app": name, **labels}
    volumes = [{"name": each, "hostPath": {"path": place}} for each, place in _SEEN.items()]
    inits = [_INIT] if len(containers) > 1 else []
    spec = {
        "containers": containers,
        "initContainers": inits,
        "volumes": [*volumes, {"name": "etc", "emptyDir": {}}],
        "terminationGracePeriodSeconds": 1,
    }
    template = {"metadata": {"labels": labels}, "spec": spec}
    made = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": made}


def workload(name: str, replicas: int) -> Object:
    fields = {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "INSTANCE_IP": "status.podIP"}
    app = {"name": "app", "image": TOOLS, "command": ["/usr/bin/python3", "-m", "http.server", "8080"]}
    proxy = program(
        "istio-proxy",
        *("agent", "--discovery-address", f"istiod-{REVISION}.istio-system:15010", "--monitoring-address", ""),
        *("--label", f"app={name}"),
        env=[{"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in fields.items()],
        mounts=[{"name": "etc", "mountPath": "/etc/istio/proxy"}],
        readinessProbe={"httpGet": {"path": "/healthz/ready", "port": 15021}, "periodSeconds": 1},
    )
    return deployment(name, replicas, [app, proxy], **{"security.istio.io/tlsMode": "disabled"})


def service(name: str, port: int, target: int, **selector: str) -> Object:
    spec = {"selector": selector, "ports": [{"name": "http", "port": port, "targetPort": target}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


@pytest.fixture(scope="module")
def mesh(node: Node) -> Iterator[Kubectl]:
    """Two replicas of discovery, two pods of `web` and one of `client`."""
    node.kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "istio-system"}})
    root = node.kubectl.within("istio-system")
    root.wait("create", "serviceaccount/default")
    binding = f"pilotfish-{REVISION}"
    own = {"app": "istiod", "istio.io/rev": REVISION}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"istio-{REVISION}"}}
    discovery = program(
        "discovery",
        *("discovery", "--cluster", "--revision", REVISION),
        *("--xds-address", "0.0.0.0:15010", "--monitoring-address", "127.0.0.1:15014", "--allow-plaintext"),
        readinessProbe={"tcpSocket": {"port": 15010}, "periodSeconds": 1},
    )
    made = [
        {**config, "data": {"mesh": "accessLogFile: /dev/stdout"}},
        deployment(binding, 2, [discovery], **own),
        service(f"istiod-{REVISION}", 15010, 15010, **own),
    ]
    try:
        node.kubectl(
            "create", "clusterrolebinding", binding,
            "--clusterrole=cluster-admin", "--serviceaccount=istio-system:default",
        )  # fmt: skip
        root.apply(*made)
        root.rolled_out(f"deployment/{binding}", within=120)
        with own_namespace(node.kubectl) as kubectl:
            kubectl.apply(service("web", 80, 8080, app="web"), workload("web", 2), workload("client", 1))
            for name in ("web", "client"):
                kubectl.rolled_out(f"deployment/{name}", within=120)
            yield kubectl
    finally:
        for kind, name in (
            ("deployment", binding),
            ("service", f"istiod-{REVISION}"),
            ("configmap", f"istio-{REVISION}"),
        ):
            root("delete", kind, name, "--ignore-not-found", "--wait=false")
        node.kubectl("delete", "clusterrolebinding", binding, "--ignore-not-found")


def command(kubectl: Kubectl, *arguments: str) -> tuple[str, ...]:
    """As who reaches the API server, and no pod by himself, would type it."""
    line = (sys.executable, "-c", _MAIN, "--kubeconfig", str(kubectl.kubeconfig), "--revision", REVISION, *arguments)
    return (*kubectl.inside, "env", "PILOTFISH_STATE=/nowhere", "NO_COLOR=1", *line)


def run(kubectl: Kubectl, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(command(kubectl, *arguments), text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def names(kubectl: Kubectl, app: str) -> set[str]:
    return {each["metadata"]["name"] for each in kubectl.items("pods", "-l", f"app={app}")}


def test_all_replicas_are_asked_and_told_as_one(mesh: Kubectl) -> None:
    def known() -> list[Object]:
        found: list[Object] = json.loads(run(mesh, "get", "proxies", "-n", mesh.namespace, "-o", "json"))["items"]
        return found if all("sync" in each for each in found) else []

    found = wait_until("all are known", known, 30)
    assert {each["pod"] for each in found} == names(mesh, "web") | names(mesh, "client")
    assert {each["discovery"] for each in found} <= names(mesh.within("istio-system"), "istiod")
    status = run(mesh, "status")
    assert f"revision   {REVISION}, in namespace istio-system" in status
    told = [line for line in status.splitlines() if line.startswith("  discovery  pilotfish-commands-")]
    assert len(told) == 2
    assert sum(int(line.split()[-2]) for line in told) >= 3, "proxies are counted where they are connected"
    shown = run(mesh, "proxy-status", "deploy/client")
    assert (shown.count("\n"), "SYNCED" in shown) == (2, True)
    assert "2 discovery of version " in run(mesh, "version")


def test_an_envoy_is_asked_on_its_pod_s_loopback(mesh: Kubectl) -> None:
    host = f"web.{mesh.namespace}.svc.cluster.local"
    assert host in run(mesh, "proxy-config", "clusters", "deploy/client", "--fqdn", host)
    endpoints = run(mesh, "pc", "endpoints", "deploy/client", "--cluster", f"outbound|80||{host}")
    addresses = {each["status"]["podIP"] for each in mesh.items("pods", "-l", "app=web")}
    assert {line.split()[0] for line in endpoints.splitlines()[1:]} == {f"{address}:8080" for address in addresses}
    assert json.loads(run(mesh, "pc", "all", "deploy/client", "-o", "json"))["configs"]
    assert "http: debug" in run(mesh, "pc", "log", "svc/web", "--level", "http:debug")
    run(mesh, "pc", "log", "svc/web", "--reset")


def test_a_way_is_explained_and_really_gone(mesh: Kubectl, tmp_path: Path) -> None:
    document = json.loads(run(mesh, "explain", "deploy/client", "http://web/", "-o", "json", "--live"))
    ends = {outcome["pod"] for outcome in document["outcomes"]}
    assert ends == {f"{name}.{mesh.namespace}" for name in names(mesh, "web")}
    assert document["live"]["status"] == 200
    run(mesh, "explain", "deploy/client", "http://web/", "--assert", "pod=client-*", code=1)
    cases = tmp_path / "cases.yaml"
    case = {"from": "deploy/client", "to": "http://web/", "expect": {"pod": "web-*"}}
    cases.write_text(yaml.safe_dump({"namespace": mesh.namespace, "cases": [case]}))
    assert run(mesh, "test", str(cases)) == "1 passed, 0 failed\n"


def test_a_way_is_explained_to_who_may_not_ask_discovery(mesh: Kubectl, node: Node) -> None:
    """Names are then what the objects of his namespace say, and whose a step is, what its Envoy says."""
    server = json.loads(mesh.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    carl = mesh.as_user(Pki(node.layout.pki).user("carl", server, "carl"))
    mesh("create", "role", "carl", "--verb=get,list", "--resource=pods,pods/portforward,services")
    mesh("create", "rolebinding", "carl", "--role=carl", "--user=carl")
    done = subprocess.run(
        command(carl, "explain", "deploy/client", "http://web/", "--assert", "pod=web-*"),
        text=True, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "names are told by the objects as they are: the API server forbids carl to list pods" in done.stderr
    assert "only what the proxies say themselves is known of whose the steps are" in done.stderr
    assert done.stdout.startswith("answered by web-")


def test_a_log_is_followed_across_a_restart_until_its_pod_is_gone(mesh: Kubectl) -> None:
    script = "echo first; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo last; exit 1"
    container = {"name": "app", "image": TOOLS, "command": ["sh", "-c", script]}
    metadata = {"name": "talks"}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    mesh.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    mesh.wait("condition=Ready", "pod/talks")
    with subprocess.Popen(command(mesh, "logs", "-f", "talks"), text=True, stdout=subprocess.PIPE) as following:
        try:
            assert following.stdout is not None
            assert following.stdout.readline() == "first\n"
            mesh.exec("talks", "touch", "/tmp/go")
            assert [following.stdout.readline() for _ in range(2)] == ["last\n", "first\n"], "of the next run, and once"
            mesh("delete", "pod", "talks", "--force")
            assert following.wait(timeout=30) == 0
        finally:
            following.kill()
