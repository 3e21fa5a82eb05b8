"""Which pods their machine's proxy serves."""

from __future__ import annotations

import pytest

from pilotfish.config import load
from pilotfish.config.kubernetes import Pod
from pilotfish.config.mesh import MeshConfig, ProxyConfig
from pilotfish.config.proxying import with_proxy
from pilotfish.inject import Sidecar, build_sidecar
from pilotfish.inject.node_mode import IN_A_CLUSTER
from pilotfish.inject.sidecar import Place
from pilotfish.model import Problem, Severity, Source
from pilotfish.model.kinds import DEPLOYMENT

WEB = DEPLOYMENT.ref("vm", "web")
ASK = "pilotfish.io/proxy"
NODE, OWN = {ASK: "node"}, {ASK: "sidecar"}
NODE_MESH = MeshConfig(default_config=ProxyConfig(proxy_metadata={"PILOTFISH_PROXY": "node"}))
UP_SIDECAR, UP_NODE, UP = with_proxy(NODE_MESH, "sidecar"), with_proxy(MeshConfig(), "node"), with_proxy(NODE_MESH, "")


def pod(annotations: dict[str, str], more: str = "") -> Pod:
    text = f"""
apiVersion: v1
kind: Pod
metadata: {{name: web-1, namespace: vm}}
spec: {{volumes: [{{name: id, emptyDir: {{}}}}], containers: [{{name: web, command: [run]{more}}}]}}
"""
    (manifest,) = load(text, "web.yaml").manifests
    assert isinstance(manifest.resource, Pod)
    manifest.resource.metadata.annotations.update(annotations)
    return manifest.resource


def build(
    pod: Pod, namespace: dict[str, str] | None = None, mesh: MeshConfig | None = None, in_cluster: bool = False
) -> tuple[Sidecar, tuple[Problem, ...]]:
    made, problems = build_sidecar(
        pod,
        mesh or MeshConfig(),
        workload=WEB,
        ipv6=False,
        source=Source("web.yaml", 7),
        namespace_annotations=namespace or {},
        place=Place(lacks_node_proxy=IN_A_CLUSTER if in_cluster else ""),
    )
    assert made is not None
    return made, problems


@pytest.mark.parametrize(
    ("of_pod", "of_namespace", "mesh", "on_node"),
    [
        ({}, {}, MeshConfig(), False),
        (NODE, {}, MeshConfig(), True),
        ({}, NODE, MeshConfig(), True),
        ({}, {}, NODE_MESH, True),
        (OWN, NODE, NODE_MESH, False),
        (NODE, OWN, MeshConfig(), True),
        ({}, OWN, NODE_MESH, False),
        ({}, {}, UP_NODE, True),
        ({}, {}, UP_SIDECAR, False),
        ({}, {}, UP, True),
        ({"proxy.istio.io/config": "proxyMetadata: {PILOTFISH_PROXY: node}"}, {}, MeshConfig(), True),
    ],
    ids=[
        "nobody",
        "pod",
        "namespace",
        "mesh",
        "pod's no",
        "pod over namespace",
        "namespace's no",
        "up",
        "up's no",
        "up alone",
        "pod's config",
    ],
)
def test_who_says_it(of_pod: dict[str, str], of_namespace: dict[str, str], mesh: MeshConfig, on_node: bool) -> None:
    """The pod goes before its Namespace, and that before the mesh. Others see it on the pod."""
    made, problems = build(pod(of_pod), of_namespace, mesh)
    assert (made.on_node, problems) == (on_node, ())
    assert made.annotations == (NODE if on_node else {})
    assert made.capture is not None


@pytest.mark.parametrize(
    ("asking", "in_cluster", "why"),
    [
        (pod({**NODE, "inject.istio.io/templates": "gateway"}), False, "gateway"),
        (pod({**NODE, "sidecar.istio.io/interceptionMode": "TPROXY"}), False, "TPROXY"),
        (pod(NODE, ", volumeMounts: [{name: id, mountPath: /var/run/secrets/workload-spiffe-uds/}]"), False, "spiffe"),
        (pod({**NODE, "sidecar.istio.io/userVolumeMount": "[]"}), True, "in a cluster"),
    ],
    ids=["gateway", "clients' addresses", "another's certificate", "cluster"],
)
def test_pods_that_have_a_proxy_of_their_own_all_the_same(asking: Pod, in_cluster: bool, why: str) -> None:
    made, problems = build(asking, in_cluster=in_cluster)
    assert not made.on_node
    assert made.annotations == OWN  # discovery goes by it
    (problem,) = (each for each in problems if each.field == f"metadata.annotations[{ASK}]")
    assert problem.severity is Severity.WARNING
    assert why in problem.message


def test_a_proxy_that_sees_volumes_of_the_pod_is_its_own() -> None:
    volumes = {
        "sidecar.istio.io/userVolume": '[{"name": "certs", "secret": {"secretName": "certs"}}]',
        "sidecar.istio.io/userVolumeMount": '[{"name": "certs", "mountPath": "/certs"}]',
    }
    made, problems = build(pod({**volumes, **NODE}))
    assert (made.on_node, [each.severity for each in problems]) == (False, [Severity.WARNING])
    assert build(pod(volumes), NODE)[1] == (), "where the pod itself has not asked for it, nothing is to be said"


@pytest.mark.parametrize(
    ("annotation", "text", "said"),
    [
        ("sidecar.istio.io/logLevel", "debug", "this annotation has"),
        ("sidecar.istio.io/statsInclusionPrefixes", "http", "this annotation has"),
        ("proxy.istio.io/config", "concurrency: 2", "concurrency has"),
        ("proxy.istio.io/config", "{proxyAdminPort: 9901, drainDuration: 3s}", "drainDuration, proxyAdminPort have"),
        ("proxy.istio.io/config", "{terminationDrainDuration: 3s, statusPort: 15025}", ""),
    ],
)
def test_what_only_a_proxy_of_its_own_could_do_is_said(annotation: str, text: str, said: str) -> None:
    made, problems = build(pod({**NODE, annotation: text}))
    assert made.on_node
    found = [(each.field, each.severity, each.message.partition(" no effect")[0]) for each in problems]
    assert found == ([(f"metadata.annotations[{annotation}]", Severity.INFO, said)] if said else [])
    assert all("pilotfish.io/proxy: sidecar" in each.message for each in problems)
