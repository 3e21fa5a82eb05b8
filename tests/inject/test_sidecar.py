"""Whether a pod gets a sidecar, and what that adds."""

from __future__ import annotations

import msgspec
import pytest

from pilotfish.agent.metrics import ScrapeTarget
from pilotfish.capture import CaptureSpec, Mode
from pilotfish.config import load
from pilotfish.config.kubernetes import Metadata, Pod
from pilotfish.config.mesh import MeshConfig, ProxyConfig
from pilotfish.inject import Sidecar, build_sidecar
from pilotfish.model import Problem, Severity, Source
from pilotfish.model.kinds import DEPLOYMENT
from pilotfish.model.proxy import ProxyType

WEB = DEPLOYMENT.ref("vm", "web")
SOURCE = Source("web.yaml", 7)


def pod(annotations: dict[str, str] | None = None, labels: dict[str, str] | None = None) -> Pod:
    text = """
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: vm}
spec:
  serviceAccountName: cashier
  initContainers: [{name: first, command: [run]}]
  containers:
  - {name: web, command: [run], ports: [{name: http, containerPort: 8080}], readinessProbe: {httpGet: {port: http}}}
  - {name: log, command: [run]}
"""
    (manifest,) = load(text, "web.yaml").manifests
    assert isinstance(manifest.resource, Pod)
    manifest.resource.metadata.labels.update(labels or {})
    manifest.resource.metadata.annotations.update(annotations or {})
    return manifest.resource


def build(pod: Pod, mesh: MeshConfig | None = None) -> tuple[Sidecar | None, tuple[Problem, ...]]:
    return build_sidecar(pod, mesh or MeshConfig(), workload=WEB, ipv6=False, source=SOURCE)


def sidecar(pod: Pod, mesh: MeshConfig | None = None) -> Sidecar:
    made, problems = build(pod, mesh)
    assert made is not None
    assert problems == ()
    return made


def captured(made: Sidecar) -> CaptureSpec:
    assert made.capture is not None
    return made.capture


@pytest.mark.parametrize(
    "unwilling",
    [
        pod(labels={"sidecar.istio.io/inject": "false"}),
        pod({"sidecar.istio.io/inject": "false"}),
        pod({"sidecar.istio.io/inject": "No"}),
        pod({"sidecar.istio.io/inject": "true"}, {"sidecar.istio.io/inject": "False"}),
        pod({"sidecar.istio.io/interceptionMode": "NONE"}),
    ],
    ids=["by label", "by annotation", "in other words", "by label before annotation", "by mode"],
)
def test_a_pod_that_wants_none_has_none(unwilling: Pod) -> None:
    assert build(unwilling) == (None, ())


@pytest.mark.parametrize(
    ("namespace", "labels", "annotation", "expected"),
    [
        ({}, {}, "", True),
        ({"istio-injection": "enabled"}, {}, "", True),
        ({"istio-injection": "enabled"}, {"sidecar.istio.io/inject": "false"}, "", False),
        ({"istio-injection": "enabled"}, {}, "false", False),
        ({"istio-injection": "disabled"}, {"sidecar.istio.io/inject": "true"}, "", False),
        ({"istio-injection": "disabled"}, {"istio.io/rev": "stable"}, "", False),
        ({"istio-injection": "disabled", "istio.io/rev": "stable"}, {}, "", False),
        ({"istio-injection": "true"}, {}, "", False),
        ({"istio.io/rev": "stable"}, {}, "", True),
        ({"istio.io/rev": "stable"}, {"sidecar.istio.io/inject": "false"}, "true", False),
        ({}, {"istio.io/rev": "stable"}, "", True),
    ],
)
def test_a_namespace_goes_before_its_pods(
    namespace: dict[str, str], labels: dict[str, str], annotation: str, expected: bool
) -> None:
    asking = pod({"sidecar.istio.io/inject": annotation} if annotation else {}, labels)
    made, problems = build_sidecar(asking, MeshConfig(), workload=WEB, ipv6=False, namespace_labels=namespace)
    assert ((made is not None), problems) == (expected, ())


def test_where_istio_injects_nothing_nor_do_we() -> None:
    of_cluster = msgspec.structs.replace(pod(), metadata=Metadata(name="dns", namespace="kube-system"))
    spec = msgspec.structs.replace(pod().spec, host_network=True)
    on_host = msgspec.structs.replace(pod(), spec=spec)
    assert [build(each) for each in (of_cluster, on_host)] == [(None, ())] * 2


def test_what_annotations_ask_of_the_proxy() -> None:
    asking = pod(
        {
            "sidecar.istio.io/logLevel": "Debug",
            "sidecar.istio.io/componentLogLevel": "rbac:trace, jwt:info",
            "sidecar.istio.io/userVolume": '{"certs": {"secret": {"secretName": "c"}}}',
            "sidecar.istio.io/userVolumeMount": '[{"name": "certs", "mountPath": "/etc/certs", "readOnly": true}]',
            "prometheus.io/scrape": "true",
            "prometheus.istio.io/merge-metrics": "false",
        }
    )
    made, problems = build(asking)
    assert problems == ()
    assert made is not None
    wishes = made.wishes
    assert (wishes.log_level, wishes.component_log_level) == ("debug", "rbac:trace,jwt:info")
    assert [(volume.name, volume.secret is not None) for volume in wishes.volumes] == [("certs", True)]
    assert [(mount.name, mount.mount_path, mount.read_only) for mount in wishes.mounts] == [
        ("certs", "/etc/certs", True)
    ]
    assert made.prometheus is None


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("logLevel", "loud", "'loud' is none of trace"),
        ("componentLogLevel", "rabc:debug", "'rabc' is no component of Envoy"),
        ("componentLogLevel", "rbac:loud", "'loud' is none of trace"),
        ("userVolume", "{", "it is no JSON"),
        ("userVolume", "7", "it is no list and no map"),
        ("userVolume", '[{"name": "a", "emptyDri": {}}]', "there is no such field"),
        ("userVolumeMount", '[{"name": "a", "mountPath": "/a"}]', "the pod has no volume 'a'"),
        ("userVolumeMount", '[{"mountPath": "/a"}]', "the field is required"),
    ],
)
def test_with_a_wish_that_cannot_be_granted_the_pod_is_not_started(name: str, value: str, meant: str) -> None:
    _, (problem, *_) = build(pod({f"sidecar.istio.io/{name}": value}))
    assert (problem.ref, problem.severity, problem.source) == (WEB, Severity.ERROR, SOURCE)
    assert meant in problem.message


@pytest.mark.parametrize(
    ("odd", "severity", "meant"),
    [
        (pod({"sidecar.istio.io/injct": "false"}), Severity.WARNING, "sidecar.istio.io/inject?"),
        (pod(labels={"sidecar.istio.io/injected": "false"}), Severity.WARNING, "sidecar.istio.io/inject?"),
        (
            pod({"traffic.istio.io/excludeOutboundPorts": "80"}),
            Severity.WARNING,
            "traffic.sidecar.istio.io/excludeOutboundPorts?",
        ),
        (pod({"sidecar.istio.io/proxyCPU": "100m"}), Severity.INFO, "no limit holds"),
        (pod({"sidecar.istio.io/proxyCpu": "100m"}), Severity.WARNING, "sidecar.istio.io/proxyCPU?"),
        (pod({"readiness.status.sidecar.istio.io/periodSeconds": "1"}), Severity.INFO, "by no probe"),
        (pod({"inject.istio.io/templates": "sidecar,mine"}), Severity.INFO, "no effect"),
    ],
    ids=[
        "a slip",
        "a slip in a label",
        "another domain",
        "no limits",
        "a slip in one of these",
        "no probe",
        "templates",
    ],
)
def test_what_has_no_effect_is_said(odd: Pod, severity: Severity, meant: str) -> None:
    made, (problem,) = build(odd)
    assert made is not None
    assert (problem.ref, problem.severity, problem.source) == (WEB, severity, SOURCE)
    assert meant in problem.message


def test_what_a_pod_gets_that_says_nothing() -> None:
    made = sidecar(pod())
    assert captured(made).mode is Mode.REDIRECT
    assert captured(made).captures_dns, "the names of Services are known to the agent alone"
    assert made.proxy_config == ProxyConfig()
    assert list(made.probes) == ["/app-health/web/readyz"]
    assert made.prometheus is None
    assert made.metadata == {
        "SERVICE_ACCOUNT": "cashier",
        "WORKLOAD_NAME": "web",
        "OWNER": "kubernetes://apis/apps/v1/namespaces/vm/deployments/web",
        "ANNOTATIONS": {},
        "APP_CONTAINERS": "web,log",
        "INTERCEPTION_MODE": "REDIRECT",
    }


def test_the_meshs_configuration_counts_and_the_pods_own_before_it() -> None:
    mesh = MeshConfig(default_config=ProxyConfig(interception_mode="TPROXY", status_port=15099, concurrency=2))
    made = sidecar(pod(), mesh)
    assert (captured(made).mode, made.metadata["INTERCEPTION_MODE"]) == (Mode.TPROXY, "TPROXY")
    assert 15099 in captured(made).inbound_ports_exclude
    own = {"proxy.istio.io/config": "{interceptionMode: REDIRECT, proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'false'}}"}
    made = sidecar(pod(own), mesh)
    assert (captured(made).mode, captured(made).captures_dns) == (Mode.REDIRECT, False)
    assert (made.proxy_config.concurrency, made.proxy_config.status_port) == (2, 15099)


@pytest.mark.parametrize(
    ("annotations", "said"),
    [
        ({"excludeOutboundPorts": "3306, 6379"}, ["what is sent to port 3306, 6379 goes past"]),
        ({"excludeOutboundIPRanges": "10.0.0.0/8"}, ["what is sent to 10.0.0.0/8 goes past"]),
        ({"includeOutboundIPRanges": "10.0.0.0/8"}, ["what is sent, but not to 10.0.0.0/8, goes past"]),
        (
            {"includeOutboundIPRanges": "", "includeOutboundPorts": "80"},
            ["what is sent, but not to port 80, goes past"],
        ),
        ({"includeOutboundIPRanges": ""}, ["what is sent goes past"]),
        ({"includeInboundPorts": "8080"}, ["what is sent to the pod, but not to 8080, comes past"]),
        ({"excludeInboundPorts": "22"}, ["what is sent to the pod's port 22 comes past"]),
        ({"excludeOutboundPorts": "", "includeInboundPorts": "*", "includeOutboundIPRanges": "*"}, []),
    ],
)
def test_what_goes_past_the_sidecar_is_said_and_keeps_no_pod_from_starting(
    annotations: dict[str, str], said: list[str]
) -> None:
    made, problems = build(pod({f"traffic.sidecar.istio.io/{name}": value for name, value in annotations.items()}))
    assert made is not None
    assert {(problem.ref, problem.severity, problem.source) for problem in problems} <= {(WEB, Severity.INFO, SOURCE)}
    assert [problem.message.partition(" past")[0] + " past" for problem in problems] == said


def test_the_apps_metrics() -> None:
    made = sidecar(pod({"prometheus.io/scrape": "true", "prometheus.io/port": "9000"}))
    assert made.prometheus == ScrapeTarget(9000)


@pytest.mark.parametrize(
    "annotations",
    [
        {"traffic.sidecar.istio.io/excludeOutboundPorts": "http"},
        {"sidecar.istio.io/interceptionMode": "MAYBE"},
        {"proxy.istio.io/config": "concurrency: many"},
        {"prometheus.io/scrape": "true", "prometheus.io/port": "http"},
    ],
    ids=lambda annotations: list(annotations)[-1],
)
def test_a_wrong_annotation_is_an_error_of_what_the_user_wrote(annotations: dict[str, str]) -> None:
    _, problems = build(pod(annotations))
    (problem,) = problems
    assert (problem.ref, problem.severity, problem.source) == (WEB, Severity.ERROR, SOURCE)
    assert list(annotations)[-1] in problem.field


def test_an_apps_port_that_is_the_sidecars_by_the_meshs_configuration_is_said_once() -> None:
    config = ProxyConfig(proxy_admin_port=8080)
    made, (problem,) = build(pod(), MeshConfig(default_config=config))
    assert made is not None
    assert (problem.reason, problem.severity) == ("PortCollision", Severity.WARNING)
    assert problem.field == "spec.template.spec.containers[0].ports[0].containerPort"
    _, found = build(pod({"proxy.istio.io/config": "proxyAdminPort: 8080"}), MeshConfig(default_config=config))
    assert found == (), "the annotation's own was said when it was read"
    assert sidecar(pod({"proxy.istio.io/config": "proxyAdminPort: 15099"}), MeshConfig(default_config=config))


def test_the_agent_answers_at_the_port_that_the_annotation_names() -> None:
    made = sidecar(pod({"status.sidecar.istio.io/port": "15099"}))
    assert made.proxy_config.status_port == 15099
    assert 15099 in captured(made).inbound_ports_exclude


@pytest.mark.parametrize("port", [15000, 15001, 15090])
def test_a_status_port_that_the_sidecar_has_already_is_refused(port: int) -> None:
    _, (problem,) = build(pod({"status.sidecar.istio.io/port": str(port)}))
    assert problem.severity is Severity.ERROR
    assert f"{port} is taken" in problem.message


def test_a_gateway_is_a_router_that_captures_nothing() -> None:
    text = """
apiVersion: v1
kind: Pod
metadata: {name: edge, namespace: vm, annotations: {inject.istio.io/templates: gateway}}
spec:
  containers:
  - {name: istio-proxy, image: auto, env: [{name: ISTIO_META_ROUTER_MODE, value: standard}]}
"""
    (manifest,) = load(text, "edge.yaml").manifests
    assert isinstance(manifest.resource, Pod)
    made = sidecar(manifest.resource)
    assert (made.type, made.capture) == (ProxyType.ROUTER, None)
    assert made.metadata["ROUTER_MODE"] == "standard"
    assert made.metadata["APP_CONTAINERS"] == ""
    unproxied, (problem,) = build_sidecar(
        manifest.resource, MeshConfig(), workload=WEB, ipv6=False, namespace_labels={"istio-injection": "disabled"}
    )
    assert unproxied is None
    assert "istio-injection" in problem.message
