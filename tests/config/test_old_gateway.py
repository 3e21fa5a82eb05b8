"""Gateways as Istio's installation manifests had them before injection."""

from __future__ import annotations

from pilotfish.config import load
from pilotfish.config.kubernetes import Deployment, Pod
from pilotfish.config.mesh import MeshConfig
from pilotfish.inject.sidecar import build_sidecar
from pilotfish.model import Severity
from pilotfish.model.kinds import DEPLOYMENT
from pilotfish.model.proxy import ProxyType
from pilotfish.node.gateways import with_gateways

INGRESS = DEPLOYMENT.ref("istio-system", "istio-ingressgateway")
OLD_GATEWAY = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  selector: {matchLabels: {app: istio-ingressgateway, istio: ingressgateway}}
  template:
    metadata:
      labels: {app: istio-ingressgateway, istio: ingressgateway, sidecar.istio.io/inject: "false"}
      annotations: {sidecar.istio.io/inject: "false", prometheus.io/port: "15020"}
    spec:
      serviceAccountName: istio-ingressgateway-service-account
      initContainers:
      - {name: enable-core-dump, image: docker.io/istio/proxyv2:1.9.0, command: [/bin/sh], args: [-c, exit 1]}
      containers:
      - name: istio-proxy
        image: docker.io/istio/proxyv2:1.9.0
        ports: [{containerPort: 15021}, {containerPort: 8080}, {containerPort: 15090, name: http-envoy-prom}]
        args: [proxy, router, --domain, $(POD_NAMESPACE).svc.cluster.local, --proxyLogLevel=warning]
        readinessProbe: {httpGet: {path: /healthz/ready, port: 15021}}
        env:
        - {name: PILOT_CERT_PROVIDER, value: istiod}
        - {name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: ISTIO_META_ROUTER_MODE, value: sni-dnat}
        volumeMounts:
        - {name: istio-envoy, mountPath: /etc/istio/proxy}
        - {name: istiod-ca-cert, mountPath: /var/run/secrets/istio}
        - {name: istio-token, mountPath: /var/run/secrets/tokens}
        - {name: podinfo, mountPath: /etc/istio/pod}
        - {name: ingressgateway-certs, mountPath: /etc/istio/ingressgateway-certs}
      volumes:
      - {name: istiod-ca-cert, configMap: {name: istio-ca-root-cert}}
      - {name: podinfo, downwardAPI: {items: []}}
      - {name: istio-envoy, emptyDir: {}}
      - {name: istio-token, projected: {sources: []}}
      - {name: ingressgateway-certs, secret: {secretName: istio-ingressgateway-certs, optional: true}}
---
apiVersion: v1
kind: Service
metadata: {name: istio-ingressgateway, namespace: istio-system}
spec:
  selector: {istio: ingressgateway}
  ports: [{name: http2, port: 80, targetPort: 8080}]
---
apiVersion: networking.istio.io/v1alpha3
kind: Gateway
metadata: {name: shop, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
"""


def test_one_is_run_without_what_is_istios_own() -> None:
    loaded = load(OLD_GATEWAY, "in.yaml")
    (problem,) = loaded.problems
    assert (problem.severity, problem.field) == (Severity.INFO, "spec.template.spec.containers[0].args")
    assert "inject.istio.io/templates: gateway" in problem.message
    manifests = {manifest.ref: manifest for manifest in loaded.manifests}
    assert with_gateways(manifests, MeshConfig()) is manifests, "it is what the Gateway selects"
    found = manifests[INGRESS].resource
    assert isinstance(found, Deployment)
    template = found.spec.template
    assert [volume.name for volume in template.spec.volumes] == ["ingressgateway-certs"]
    assert [mount.name for mount in template.spec.containers[0].volume_mounts] == ["ingressgateway-certs"]
    assert template.spec.init_containers == ()
    pod = Pod(metadata=template.metadata, spec=template.spec)
    labels = {"istio-injection": "disabled"}
    made, problems = build_sidecar(pod, MeshConfig(), workload=INGRESS, ipv6=False, namespace_labels=labels)
    assert made is not None
    assert problems == ()
    assert (made.type, made.capture, made.metadata["ROUTER_MODE"]) == (ProxyType.ROUTER, None, "sni-dnat")


def test_what_is_no_router_is_told_how_a_gateway_is_written() -> None:
    problems = load(OLD_GATEWAY.replace("[proxy, router,", "[proxy, sidecar,"), "in.yaml").problems
    (problem,) = (each for each in problems if each.field.endswith("containers[0].name"))
    assert problem.severity is Severity.ERROR
    assert "for a gateway, write the annotation inject.istio.io/templates: gateway" in problem.message
