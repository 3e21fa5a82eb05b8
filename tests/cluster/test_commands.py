"""Commands against an API server: what they need of it alone, and what they say where it gives less.

No kubelet is behind it: nothing can be forwarded to a pod, and a pod is as its status was written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from pilotfish.cli.app import pilotfish
from pilotfish.install.crds import build_crds
from tests.cli.test_completion import complete
from tests.cluster.api_server import ApiServer, own_api_server
from tests.cluster.kubectl import Kubectl, Object

Command = Callable[..., Result]
PROXY: Object = {"name": "istio-proxy", "image": "none", "args": ["agent"]}
INIT: Object = {"name": "istio-init", "image": "none", "args": ["capture", "apply", "-b", "*", "-i", "*"]}


@pytest.fixture(scope="module")
def api_server(_control: None) -> Iterator[ApiServer]:
    """One of these tests' own: with Istio's kinds, and control planes that come and go."""
    with own_api_server() as own:
        crds = {"apiVersion": "v1", "kind": "List", "items": list(build_crds({}))}
        own.api.kubectl("apply", "--server-side", "--filename", "-", stdin=json.dumps(crds))
        own.api.kubectl.wait("condition=Established", "crd", "--all")
        for name in ("istio-system", "elsewhere"):
            own.api.kubectl("create", "namespace", name)
            own.api.kubectl.within(name).wait("create", "serviceaccount/default")
        yield own.api


@pytest.fixture
def command(kubectl: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """As somebody without a mesh on the machine, whose kubeconfig's context is of the test's namespace."""
    monkeypatch.setenv("PILOTFISH_STATE", str(tmp_path / "none"))
    monkeypatch.setenv("KUBECONFIG", str(kubectl.kubeconfig))
    monkeypatch.delenv("PILOTFISH_CONTEXT", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(pilotfish, arguments, input=stdin, prog_name="pilotfish")

    return run


@pytest.fixture
def control_plane(api_server: ApiServer) -> Iterator[Callable[[str], None]]:
    """Makes a replica of a revision's control plane, which is gone after the test."""
    there = api_server.kubectl.within("istio-system")

    def make(revision: str) -> None:
        there.apply(pod(f"pilotfish-{revision}", {"app": "istiod", "istio.io/rev": revision}, proxy=False))

    yield make
    there("delete", "pods", "--all", "--force")


def pod(name: str, labels: dict[str, str] | None = None, *, proxy: bool = True, **metadata: Any) -> Object:
    containers = [{"name": "app", "image": "none", "ports": [{"containerPort": 8080}]}, *([PROXY] if proxy else [])]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {"app": "web"}, **metadata},
        "spec": {"containers": containers, "initContainers": [INIT] if proxy else []},
    }


def run_pod(kubectl: Kubectl, made: Object, address: str) -> None:
    """As its kubelet would tell of it."""
    kubectl.apply(made)
    started = {"ready": True, "started": True, "restartCount": 0, "image": "none", "imageID": ""}
    statuses = [
        {"name": each["name"], "state": {"running": {"startedAt": "2026-11-26T07:00:00Z"}}, **started}
        for each in made["spec"]["containers"]
    ]
    status = {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": statuses,
    }
    name = made["metadata"]["name"]
    patch = json.dumps({"status": status})
    kubectl("patch", "pod", name, "--subresource", "status", "--type", "merge", "--patch", patch)


def service(name: str = "web") -> Object:
    spec = {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def virtual_service(host: str, **route: Any) -> Object:
    spec = {"hosts": ["web"], "http": [{"route": [{"destination": {"host": host}}], **route}]}
    metadata = {"name": "web"}
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": metadata, "spec": spec}


def test_a_cluster_without_a_control_plane_is_told_as_it_is(command: Command, kubectl: Kubectl) -> None:
    run_pod(kubectl, pod("web-0"), "10.244.0.5")
    kubectl.apply(pod("bare-0", proxy=False))
    result = command("status")
    assert result.exit_code == 1
    assert f"  namespace  {kubectl.namespace}\n" in result.stdout
    none = "no control plane runs in namespace istio-system; install one with 'pilotfish install'"
    assert f"  discovery  {none}\n" in result.stdout
    (row,) = (line.split() for line in result.stdout.splitlines() if line.startswith(kubectl.namespace))
    assert row[1:4] == ["web-0", "2/2", "Running"]
    assert row[-2:] == ["10.244.0.5", "UNKNOWN"]
    assert none in command("proxy-status").stderr, "why nothing is known of them"


def test_which_of_several_control_planes_is_meant_has_to_be_said(
    command: Command, control_plane: Callable[[str], None], api_server: ApiServer
) -> None:
    control_plane("default")
    control_plane("canary")
    said = "2 control planes run in namespace istio-system: canary, default; say which one is meant with --revision"
    for arguments in (("status",), ("proxy-status",), ("identity", "show"), ("analyze",)):
        result = command(*arguments)
        assert (result.exit_code, said in result.stderr) == (1, True), arguments
    assert "pilotfish-canary.istio-system does not answer" in command("--revision", "canary", "status").stdout
    unknown = command("--revision", "old", "status").stderr
    assert "no control plane has the revision old; there is canary, default" in unknown
    tag = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "tag-prod", "labels": {"istio.io/tag": "prod", "istio.io/rev": "canary"}},
    }
    api_server.kubectl.apply(tag)
    assert "revision   canary, in namespace istio-system" in command("--revision", "prod", "status").stdout
    api_server.kubectl("delete", "mutatingwebhookconfiguration", "tag-prod")


def test_pods_are_found_as_on_one_machine(command: Command, kubectl: Kubectl) -> None:
    """Nothing can be asked of them here: what is said of that tells which pod was found."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-6f", "controller": True, "uid": "1"}
    labels = {"app": "web", "pod-template-hash": "6f"}
    run_pod(kubectl, pod("web-6f-x2x", labels, ownerReferences=[owner]), "10.244.0.6")
    kubectl.apply(service(), pod("bare-0", {"app": "bare"}, proxy=False), service("nothing"))
    place = kubectl.namespace
    for target in ("web-6f-x2x", "pod/web-6f-x2x", "deploy/web", "svc/web", f"deploy/web.{place}", f"svc/web.{place}"):
        said = command("pc", "clusters", target).stderr
        assert f"pods/portforward web-6f-x2x in namespace {place}: pod web-6f-x2x does not have a host assigned" in said
    for target, said in (
        ("web-1", f'pods "web-1" not found in namespace "{place}"; \'kubectl get pods -A\' lists all pods'),
        ("deploy/web.elsewhere", f'deployments.apps "web.elsewhere" not found in namespace "{place}"'),
        ("svc/nothing", f'services "nothing" in namespace "{place}" has no pods'),
        ("cm/x", '"cm/x" names no pod'),
        ("bare-0", f"pod bare-0.{place} has no sidecar"),
    ):
        result = command("pc", "clusters", target)
        assert (result.exit_code, said in result.stderr) == (1, True), result.stderr
    elsewhere = command("pc", "clusters", "web-6f-x2x", "-n", "elsewhere")
    assert 'pods "web-6f-x2x" not found in namespace "elsewhere"' in elsewhere.stderr


def test_what_is_missing_is_named_with_verb_group_and_resource_and_the_rest_works(
    command: Command, kubectl: Kubectl, api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_pod(kubectl, pod("web-0"), "10.244.0.7")
    monkeypatch.setenv("KUBECONFIG", str(kubectl.as_user(api_server.user("ann")).kubeconfig))
    nothing = command("pc", "clusters", "web-0").stderr
    assert f"forbids ann to get pods web-0 in namespace {kubectl.namespace}" in nothing
    assert 'a Role there or a ClusterRole with apiGroups: [""], resources: ["pods"], verbs: ["get"]' in nothing
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods,services")
    kubectl("create", "rolebinding", "reader", "--role=reader", "--user=ann")
    forbidden = command("pc", "clusters", "web-0").stderr
    assert f"forbids ann to get pods/portforward web-0 in namespace {kubectl.namespace}" in forbidden
    assert "'analyze', 'diff', 'authz check' and 'logs' need no port of a pod" in forbidden
    kubectl.apply(service("lonely"))
    status = command("status")
    assert f"only pods of namespace {kubectl.namespace} are looked at: the API server forbids ann" in status.stderr
    assert "web-0" in status.stdout
    assert "forbids ann to list pods in namespace istio-system" in status.stdout
    analysis = command("analyze")
    assert f"no more than namespace {kubectl.namespace} has is looked at" in analysis.stderr
    assert "9 resources of networking.istio.io" in analysis.stderr
    assert f"Info [NoPods] (Service {kubectl.namespace}/lonely)" in analysis.stdout


def test_without_the_right_to_forward_ports_pods_are_told_all_the_same(
    command: Command, kubectl: Kubectl, api_server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = api_server.kubectl.within("istio-system")
    run_pod(root, pod("pilotfish-0", {"app": "istiod", "istio.io/rev": "default"}, proxy=False), "10.244.0.20")
    run_pod(kubectl, pod("web-0"), "10.244.0.21")
    root("create", "clusterrole", "lists-pods", "--verb=get,list", "--resource=pods")
    root("create", "clusterrolebinding", "lists-pods", "--clusterrole=lists-pods", "--user=bob")
    monkeypatch.setenv("KUBECONFIG", str(kubectl.as_user(api_server.user("bob")).kubeconfig))
    try:
        status = command("status")
        said = "forbids bob to get pods/portforward pilotfish-0 in namespace istio-system"
        assert (status.exit_code, said in status.stdout) == (1, True), status.output
        assert re.search(rf"^{kubectl.namespace} +web-0 +2/2 +Running", status.stdout, re.MULTILINE)
        proxies = command("proxy-status")
        assert said in proxies.stderr
        assert f"web-0.{kubectl.namespace}" in proxies.stdout
    finally:
        root("delete", "pod", "pilotfish-0", "--force")
        root("delete", "clusterrolebinding", "lists-pods")


def test_what_is_stored_is_analyzed_and_files_are_laid_over_it(
    command: Command, kubectl: Kubectl, tmp_path: Path
) -> None:
    place = kubectl.namespace
    run_pod(kubectl, pod("web-0"), "10.244.0.8")
    kubectl.apply(service(), virtual_service("shop"))
    lost = f"Error [IST0101] (VirtualService {place}/web) spec.http[0].route[0].destination.host: no Service"
    result = command("analyze")
    assert result.exit_code == 79
    assert lost in result.stdout
    assert "istio-proxy" not in result.stdout, "what an injector added is nobody's mistake"
    assert "what proxies have refused is not known: no control plane" in result.stderr
    file = tmp_path / "mended.yaml"
    file.write_text(yaml.safe_dump(virtual_service("web")))
    mended = command("analyze", "-f", str(file), "-n", place, "--kubeconfig", str(kubectl.kubeconfig))
    assert lost not in mended.stdout, mended.stdout
    assert (mended.exit_code, command("analyze", str(file)).exit_code) == (0, 79), (
        "where no cluster is named, files alone"
    )
    kubectl("annotate", "virtualservice", "web", "galley.istio.io/analyze-suppress=IST0101")
    assert lost not in command("analyze").stdout


def test_a_difference_is_told_before_it_is_made_and_no_secret_is(
    command: Command, kubectl: Kubectl, tmp_path: Path
) -> None:
    run_pod(kubectl, pod("web-0"), "10.244.0.9")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}, "type": "kubernetes.io/tls"}
    old = {**secret, "data": {"tls.crt": "b2xk", "tls.key": "b2xkLWtleQ=="}}
    kubectl.apply(service(), virtual_service("web"), old)
    file = tmp_path / "given.yaml"
    file.write_text(yaml.safe_dump(virtual_service("web")))
    same = command("diff", "-f", str(file))
    assert (same.exit_code, same.stdout) == (0, ""), same.stdout
    given = [virtual_service("web", timeout="3s"), {**secret, "data": {"tls.crt": "bmV3", "tls.key": "bmV3LWtleQ=="}}]
    file.write_text(yaml.safe_dump_all(given))
    changed = command("diff", "-f", str(file))
    assert changed.exit_code == 1
    assert "+    timeout: 3s" in changed.stdout
    assert "managedFields" not in changed.stdout
    assert f"web-0.{kubectl.namespace}" in changed.stdout.replace("\n", " "), "the proxy that it would change"
    assert "bmV3LWtleQ==" not in changed.stdout + changed.stderr
    assert "b2xkLWtleQ==" not in changed.stdout + changed.stderr
    assert kubectl.get("virtualservice/web")["spec"]["http"][0].get("timeout") is None, "nothing was changed"


def test_policies_hold_for_pods_that_hold_a_proxy(command: Command, kubectl: Kubectl) -> None:
    run_pod(kubectl, pod("web-0"), "10.244.0.10")
    run_pod(kubectl, pod("bare-0", {"app": "bare"}, proxy=False), "10.244.0.11")
    kubectl.apply(
        {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "shut"}, "spec": {}}
    )
    assert f"shut.{kubectl.namespace}" in command("authz", "check", "web-0").stdout
    assert "has no sidecar: no policy holds there" in command("authz", "check", "bare-0").stderr


def test_ways_are_checked_against_what_is_stored(command: Command, kubectl: Kubectl, tmp_path: Path) -> None:
    run_pod(kubectl, pod("client", {"app": "client"}), "10.244.0.12")
    run_pod(kubectl, pod("web-0"), "10.244.0.13")
    kubectl.apply(service(), virtual_service("web"))
    file = tmp_path / "cases.yaml"
    case = {"from": "client", "to": "http://web/", "expect": {"pod": "web-*"}}
    file.write_text(yaml.safe_dump({"namespace": kubectl.namespace, "cases": [case]}))
    assert command("test", str(file)).stdout == "1 passed, 0 failed\n"
    kubectl.apply(virtual_service("web", fault={"abort": {"httpStatus": 418, "percentage": {"value": 100}}}))
    result = command("test", str(file))
    assert result.exit_code == 1
    assert "418" in result.stdout


def test_what_kubectl_does_is_left_to_it(command: Command) -> None:
    for arguments in (
        ("get", "pods"),
        ("delete", "pod", "x"),
        ("scale", "deploy/x", "--replicas", "2"),
        ("top", "pods"),
    ):
        result = command(*arguments)
        assert (result.exit_code, f"'kubectl {' '.join(arguments)}'" in result.stderr) == (1, True), result.stderr


def test_a_shell_completes_what_is_there(command: Command, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch) -> None:
    run_pod(kubectl, pod("only-0"), "10.244.0.14")
    context = yaml.safe_load(kubectl.kubeconfig.read_text())["current-context"]
    for line in (f"pilotfish --context {context} pc clusters on", f"pilotfish logs --context {context} on"):
        assert complete(line) == ["only-0"], line
    monkeypatch.setenv("PILOTFISH_CONTEXT", context)
    assert complete("pilotfish logs only-0 -c i") == ["istio-init", "istio-proxy"]


def test_an_api_server_that_is_away_is_named(command: Command, kubectl: Kubectl, tmp_path: Path) -> None:
    document = json.loads(kubectl.kubeconfig.read_text())
    document["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    away = tmp_path / "away"
    away.write_text(json.dumps(document))
    result = command("--kubeconfig", str(away), "proxy-status")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: the API server https://127.0.0.1:1 of context ")
    assert "can't be reached" in result.stderr
