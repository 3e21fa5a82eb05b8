"""What `check` finds, before an installation and after it, in what was read of a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from pilotfish.install.crds import build_crds
from pilotfish.install.examination import Installed
from pilotfish.install.examination import find_problems as examine
from pilotfish.install.inventory import Conflict, find_conflict, ref_of
from pilotfish.install.names import OURS, Names, Object
from pilotfish.install.preflight import Cluster, find_problems
from pilotfish.install.progress import pod_trouble, unready
from tests.install.installing import named, objects, values


def _before(cluster: Cluster, *settings: str, conflicts: tuple[Conflict, ...] = ()) -> list[str]:
    return [str(problem) for problem in find_problems(cluster, values(*settings), conflicts)]


def _namespace(name: str, **labels: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _config_map(name: str, **data: str) -> Object:
    metadata = {"name": name, "namespace": "kube-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("v1.34.1", "info: Kubernetes v1.34.1 [Version]"),
        ("v1.28.9-eks-1", "warning: Kubernetes v1.28.9-eks-1 has no sidecars that start before an app"),
        ("v1.27.0", "error: Kubernetes v1.27.0 lacks what the webhooks need"),
        ("main", "warning: the API server's version 'main' is not understood"),
    ],
)
def test_the_version_of_kubernetes(version: str, expected: str) -> None:
    (found,) = _before(Cluster(version))
    assert found.startswith(expected)


def test_what_refuses_an_init_container_is_told_unless_the_node_captures() -> None:
    strict = {"pod-security.kubernetes.io/enforce": "restricted"}
    shop = _namespace("shop", **{"istio-injection": "enabled"}, **strict)
    cluster = Cluster("v1.34.0", namespaces=(shop, _namespace("other", **strict), _namespace("istio-system", **strict)))
    found = [each for each in _before(cluster) if "PodSecurity" in each]
    assert len(found) == 1
    assert "Namespace shop: it enforces 'restricted', which refuses the init container" in found[0]
    assert "--set cni.enabled=true" in found[0]
    found = [each for each in _before(cluster, "cni.enabled=true") if "PodSecurity" in each]
    assert len(found) == 1
    assert "Namespace istio-system: it enforces 'restricted', which refuses the node's plugin" in found[0]


def test_cilium_must_leave_pods_calls_to_their_sidecars() -> None:
    cilium = {"kube-proxy-replacement": "true", "cni-exclusive": "true"}
    found = _before(Cluster("v1.34.0", settings=(_config_map("cilium-config", **cilium),)), "cni.enabled=true")
    assert any("bpf-lb-sock-hostns-only" in each for each in found)
    assert any("cni-exclusive" in each for each in found)
    right = {"kube-proxy-replacement": "true", "bpf-lb-sock-hostns-only": "true", "cni-exclusive": "false"}
    found = _before(Cluster("v1.34.0", settings=(_config_map("cilium-config", **right),)), "cni.enabled=true")
    assert not any("error" in each for each in found)


def test_what_there_is_is_noted() -> None:
    proxy = _config_map("kube-proxy", **{"config.conf": 'kind: x\nmode: "nftables"\n'})
    crd = named(tuple(_crds()), "CustomResourceDefinition", "sidecars.networking.istio.io")
    foreign = {**crd, "metadata": {"name": crd["metadata"]["name"]}, "status": {"storedVersions": ["v1"]}}
    found = _before(Cluster("v1.34.0", settings=(proxy,), definitions=(foreign,)))
    assert "info: kube-proxy runs in mode nftables [Network]" in found
    assert any("are there (1; objects stored as v1), and are kept as they are" in each for each in found)


def test_an_istio_that_is_there_is_told() -> None:
    webhook = {"clientConfig": {"service": {"name": "istiod", "namespace": "istio-system"}}}
    istios = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "istio-sidecar-injector"},
        "webhooks": [webhook],
    }
    found = _before(Cluster("v1.34.0", webhooks=(istios,)))
    assert any("MutatingWebhookConfiguration istio-sidecar-injector: it is Istio's" in each for each in found)


def test_nodes_that_can_run_no_sidecar_are_told() -> None:
    def node(name: str, **info: str) -> Object:
        return {"metadata": {"name": name}, "status": {"nodeInfo": info}}

    nodes = (node("a", operatingSystem="windows"), node("b", architecture="s390x"), node("c", architecture="arm64"))
    found = [each for each in _before(Cluster("v1.34.0", nodes=nodes)) if "[Node]" in each]
    assert len(found) == 2


def _crds() -> list[Object]:
    return list(build_crds(OURS))


def test_a_definition_of_others_does_if_it_has_what_is_read() -> None:
    wanted = named(tuple(_crds()), "CustomResourceDefinition", "sidecars.networking.istio.io")
    theirs = {**wanted, "metadata": {"name": wanted["metadata"]["name"]}}
    assert find_conflict(wanted, theirs) is None
    old = {**theirs, "spec": {**theirs["spec"], "versions": [{"name": "v1alpha3", "served": True}]}}
    assert find_conflict(wanted, old) is not None
    assert find_conflict(wanted, None) is None


def _ready(source: Object) -> Object:
    """As it is once all is well."""
    if source["kind"] == "Deployment":
        number = source["spec"]["replicas"]
        status = {"updatedReplicas": number, "availableReplicas": number, "replicas": number}
        return {**source, "status": status}
    if "webhooks" in source:
        hooks = [
            {**each, "clientConfig": {**each["clientConfig"], "caBundle": "cm9vdA=="}} for each in source["webhooks"]
        ]
        return {**source, "webhooks": hooks}
    return source


def _installed(**changes: Any) -> Installed:
    found = {ref_of(each): _ready(each) for each in objects()}
    shop = _namespace("shop", **{"istio-injection": "enabled"})
    given: dict[str, Any] = {
        "names": Names(),
        "objects": found,
        "roots": ("cm9vdA==",),
        "namespaces": (shop,),
        "pods": (_pod("a", sidecar=True), _pod("b", sidecar=True)),
        "tried": _pod("check", sidecar=True),
        "proxies": {"a.shop": "", "b.shop": ""},
    }
    return Installed(**(given | changes))


def _pod(name: str, *, sidecar: bool, **spec: Any) -> Object:
    containers = [{"name": "app"}, *([{"name": "istio-proxy"}] if sidecar else [])]
    metadata = {"name": name, "namespace": "shop"}
    return {"metadata": metadata, "spec": {"containers": containers, **spec}, "status": {"phase": "Running"}}


def _after(**changes: Any) -> list[str]:
    return [str(problem) for problem in examine(_installed(**changes))]


def test_of_one_that_is_well_nothing_is_said() -> None:
    assert _after() == []


def test_a_pod_without_a_sidecar_in_a_namespace_that_has_them_is_told_once_for_all() -> None:
    pods = tuple(_pod(name, sidecar=False) for name in "abcde")
    others = (_pod("node", sidecar=False, hostNetwork=True),)
    (found,) = _after(pods=pods + others)
    assert found.startswith("warning: Namespace shop: pods a, b, c and 2 more have no sidecar")
    assert "kubectl rollout restart deployment -n shop" in found


def test_proxies_that_are_not_connected_or_not_synced_are_told() -> None:
    found = _after(proxies={"a.shop": "rds STALE"})
    assert [each.partition(" [")[2] for each in found] == ["NotSynced]", "NotConnected]"]
    (found_one,) = _after(proxies=None, unasked="pods/portforward is forbidden")
    assert "is not known: pods/portforward is forbidden" in found_one


def test_a_trial_pod_tells_whether_pods_are_injected() -> None:
    assert "would be stored without one" in _after(tried=_pod("check", sidecar=False))[0]
    assert "is refused: failed calling webhook" in _after(tried=None, refusal="failed calling webhook")[0]


def test_what_the_api_server_trusts_is_what_the_mesh_has() -> None:
    found = _after(roots=("b3RoZXI=",))
    assert len(found) == 2
    assert all("it trusts another certificate than the mesh has" in each for each in found)


def test_what_is_gone_or_not_ready_is_told() -> None:
    gone, late = _installed(), _installed()
    plane = next(ref for ref in gone.objects if ref.kind.name == "Deployment")
    assert "it is gone" in _after(objects=dict(gone.objects) | {plane: None})[0]
    missing = dict(late.objects) | {plane: named(objects(), "Deployment")}
    (found,) = _after(objects=missing, troubles={plane: "pod x is on no node"})
    assert "it has 0 of 2 pods available: pod x is on no node" in found


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, ""),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "no cpu"}]},
            "pod a is on no node: no cpu",
        ),
        (
            {"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ErrImagePull", "message": "no"}}}]},
            "container c of pod a: ErrImagePull: no",
        ),
        (
            {
                "containerStatuses": [
                    {
                        "name": "c",
                        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                        "lastState": {"terminated": {"exitCode": 2}},
                    }
                ]
            },
            "container c of pod a: CrashLoopBackOff: it ended with code 2",
        ),
        ({"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ContainerCreating"}}}]}, ""),
        (
            {"containerStatuses": [{"name": "c", "ready": False, "state": {"running": {}}}]},
            "container c of pod a runs, and is not ready; its log may say why",
        ),
    ],
)
def test_what_keeps_a_pod_from_being_ready(status: Object, expected: str) -> None:
    assert pod_trouble({"metadata": {"name": "a"}, "status": status}) == expected


def test_a_rollout_is_over_when_nothing_of_before_is_left() -> None:
    plane = named(objects(), "Deployment")
    plane["metadata"]["generation"] = 2
    status = {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 2, "replicas": 3}
    assert unready({**plane, "status": status}) == "has 2 of 2 pods available, and 1 of before is ending"
    assert unready({**plane, "status": status | {"replicas": 2}}) == ""
    assert unready({**plane, "status": status | {"observedGeneration": 1, "replicas": 2}}).startswith("has 0 of 2 pods")
    failing = {"conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]}
    assert unready({**plane, "status": failing}) == "has 0 of 2 pods available: exceeded quota"
