"""A cluster's pods, told in kubectl's words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from pilotfish.capture import CaptureSpec, parse_spec
from pilotfish.capture.flags import parse_flags, render_flags
from pilotfish.cli.mesh.cluster_rules import read_rules
from pilotfish.runtime.cluster.describe import Pod, Service, describe_pod, describe_service, find_capture
from pilotfish.runtime.control.views import PodView

NOW = "2026-11-26T07:00:00Z"
PROXY = {"name": "istio-proxy", "args": ["agent", "--log-level=warning"]}
INIT = {"name": "istio-init", "args": ["capture", "apply", "-p", "15001"]}


def document(spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **metadata: Any) -> Any:
    named = {"name": "web-6f-x2x", "namespace": "vm", "creationTimestamp": NOW}
    return {
        "metadata": {**named, **metadata},
        "spec": {"containers": [{"name": "app"}, PROXY], "initContainers": [INIT], **(spec or {})},
        "status": {"phase": "Running", **(status or {})},
    }


def described(spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **metadata: Any) -> PodView:
    return describe_pod(msgspec.convert(document(spec, status, **metadata), Pod))


def running(name: str = "app", **fields: Any) -> dict[str, Any]:
    return {"name": name, "state": {"running": {"startedAt": NOW}}, "ready": True, "started": True, **fields}


def waiting(reason: str, name: str = "app") -> dict[str, Any]:
    return {"name": name, "state": {"waiting": {"reason": reason, "message": f"it is {reason}"}}}


def ended(code: int, name: str = "app", **fields: Any) -> dict[str, Any]:
    return {"name": name, "state": {"terminated": {"exitCode": code, **fields}}}


READY = {"conditions": [{"type": "Ready", "status": "True"}]}


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({"phase": "Pending"}, "Pending"),
        ({"containerStatuses": [running()], **READY}, "Running"),
        ({"containerStatuses": [waiting("CrashLoopBackOff"), running("istio-proxy")]}, "CrashLoopBackOff"),
        ({"containerStatuses": [ended(1, reason="Error"), running("istio-proxy")]}, "Error"),
        ({"containerStatuses": [ended(137, signal=9)]}, "Signal:9"),
        ({"containerStatuses": [ended(3)]}, "ExitCode:3"),
        ({"containerStatuses": [ended(0, reason="Completed"), running("istio-proxy")], **READY}, "Running"),
        ({"containerStatuses": [ended(0, reason="Completed"), running("istio-proxy")]}, "NotReady"),
        ({"phase": "Succeeded", "containerStatuses": [ended(0, reason="Completed")]}, "Completed"),
        ({"phase": "Pending", "initContainerStatuses": [waiting("PodInitializing", "istio-init")]}, "Init:0/1"),
        ({"phase": "Pending", "initContainerStatuses": [waiting("ErrImagePull", "istio-init")]}, "Init:ErrImagePull"),
        ({"initContainerStatuses": [ended(1, "istio-init", reason="Error")]}, "Init:Error"),
        ({"initContainerStatuses": [ended(0, "istio-init")], "containerStatuses": [running()], **READY}, "Running"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
    ],
)
def test_its_status_is_the_word_that_kubectl_has_for_it(status: dict[str, Any], word: str) -> None:
    assert described(status=status).reason == word


def test_one_that_is_taken_away_is_terminating() -> None:
    found = described(status={"containerStatuses": [running()]}, deletionTimestamp=NOW)
    assert (found.reason, found.phase) == ("Terminating", "Terminating")


@pytest.mark.parametrize(
    ("owner", "labels", "told"),
    [
        ({"kind": "ReplicaSet", "name": "web-6f"}, {"pod-template-hash": "6f"}, "deployment/web"),
        ({"kind": "ReplicaSet", "name": "web-6f"}, {}, "replicaset/web-6f"),
        ({"kind": "StatefulSet", "name": "db"}, {}, "statefulset/db"),
        ({"kind": "Job", "name": "once"}, {}, "job/once"),
        (None, {}, ""),
    ],
)
def test_its_owner_is_what_the_user_wrote(owner: dict[str, str] | None, labels: dict[str, str], told: str) -> None:
    owners = [{**owner, "controller": True}] if owner else []
    assert described(labels=labels, ownerReferences=owners).owner == told


def test_a_native_sidecar_is_its_proxy_as_one_among_the_others_is() -> None:
    native = described({"containers": [{"name": "app"}], "initContainers": [{**PROXY, "restartPolicy": "Always"}]})
    for pod in (native, described()):
        assert (pod.captured, pod.gateway) == (True, False)
        assert {each.name: each.kind for each in pod.containers}["istio-proxy"] == "proxy"
    bare = described({"containers": [{"name": "app"}], "initContainers": [{"name": "log", "restartPolicy": "Always"}]})
    assert (bare.captured, {each.name: each.kind for each in bare.containers}) == (
        False, {"app": "app", "log": "sidecar"}
    )  # fmt: skip


@pytest.mark.parametrize("argument", ["router", "--gateway"])
def test_a_gateway_is_known_by_how_its_proxy_is_called(argument: str) -> None:
    assert described({"containers": [{"name": "istio-proxy", "args": ["agent", argument]}]}).gateway


def test_its_envoy_s_port_is_that_of_its_proxy_s_configuration() -> None:
    assert described().admin_port == 15000
    proxy = {**PROXY, "env": [{"name": "PROXY_CONFIG", "value": '{"proxyAdminPort": 15900}'}]}
    assert described({"containers": [proxy]}).admin_port == 15900
    wrong = {**PROXY, "env": [{"name": "PROXY_CONFIG", "value": "{"}]}
    assert described({"containers": [wrong]}).admin_port == 15000


def test_capture_is_as_its_init_container_is_called() -> None:
    assert find_capture(msgspec.convert(document(), Pod)) == ("-p", "15001")
    of_istio = {"name": "istio-validation", "args": ["istio-iptables", "-p", "15001", "--run-validation"]}
    assert find_capture(msgspec.convert(document({"initContainers": [of_istio]}), Pod)) == (
        *("-p", "15001"),
        "--run-validation",
    )
    assert find_capture(msgspec.convert(document({"initContainers": []}), Pod)) is None


def test_the_rules_of_a_pod_are_those_of_its_init_container_s_flags() -> None:
    spec = CaptureSpec(outbound_ports_exclude=(3306,), inbound_ports_exclude=(15020, 15021), redirect_dns=True)
    init = {"name": "istio-init", "args": ["capture", "apply", *render_flags(spec)]}
    found = find_capture(msgspec.convert(document({"initContainers": [init]}), Pod))
    assert parse_spec(parse_flags(found or ()))[0] == spec


def test_addresses_restarts_and_states_are_told() -> None:
    status = {
        "podIPs": [{"ip": "10.244.0.5"}, {"ip": "fd00::5"}],
        "containerStatuses": [running(restartCount=3), waiting("ContainerCreating", "istio-proxy")],
    }
    pod = described(status=status)
    assert pod.addresses == ("10.244.0.5", "fd00::5")
    app, proxy, _ = pod.containers
    assert (app.state, app.restarts, app.started_at, app.ready) == ("running", 3, 1795676400.0, True)
    assert (proxy.state, proxy.reason, proxy.message) == ("waiting", "ContainerCreating", "it is ContainerCreating")


def test_a_service_is_told_by_what_selects_its_pods() -> None:
    spec = {"clusterIP": "10.96.0.7", "selector": {"app": "web"}, "ports": [{"port": 80, "protocol": "TCP"}]}
    found = describe_service(msgspec.convert({"metadata": {"name": "web", "namespace": "vm"}, "spec": spec}, Service))
    assert (found.cluster_ip, found.selector, found.ports) == ("10.96.0.7", {"app": "web"}, ("80/TCP",))


def injected() -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted((Path(__file__).parents[1] / "inject" / "pods").glob("*/out.yaml")):
        for each in filter(None, yaml.safe_load_all(file.read_text())):
            spec: dict[str, Any] = each.get("spec") or {}
            made = spec.get("jobTemplate", {"spec": spec})["spec"].get("template", each)
            if isinstance(made, dict) and "containers" in made.get("spec", {}):
                yield file.parent.name, made


def test_what_the_injector_makes_of_pods_is_understood() -> None:
    seen = {"captured": 0, "bare": 0, "gateway": 0}
    for case, document in injected():
        pod = msgspec.convert({"status": {}, **document}, Pod)
        view, flags = describe_pod(pod), find_capture(pod)
        every = (*document["spec"]["containers"], *document["spec"].get("initContainers", ()))
        assert view.captured is any(each["name"] == "istio-proxy" for each in every), case
        asks = "gateway" in document["metadata"].get("annotations", {}).get("inject.istio.io/templates", "")
        of_istio = any("router" in each.get("args", ()) for each in every)
        assert view.gateway is (view.captured and (asks or of_istio)), case
        if flags is not None:
            assert any(table.chains for table in read_rules(case, flags, 4).tables), case
        seen["gateway" if view.gateway else "captured" if flags is not None else "bare"] += 1
    assert all(seen.values()), seen
