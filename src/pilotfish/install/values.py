"""What can be chosen of an installation, and what holds where nothing is said: the one place of every default.

`pilotfish install --set`, `-f values.yaml` and the chart's values are these fields, in camelCase.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Literal

from pilotfish.config.kubernetes import Struct
from pilotfish.inject.values import Choice, Proxy, Resources
from pilotfish.model.wellknown import CLUSTER_NAME, ROOT_NAMESPACE


def _own_version() -> str:
    try:
        return version("pilotfish")
    except PackageNotFoundError:
        return "latest"


class Placement(Struct):
    """Where pods may run, as in a pod."""

    node_selector: dict[str, str] = {}
    tolerations: tuple[dict[str, Any], ...] = ()
    affinity: dict[str, Any] = {}
    priority_class_name: str = ""


class Autoscale(Struct):
    enabled: bool = True
    min: int = 2
    """Replicas. Without `enabled`, there are as many."""
    max: int = 5
    cpu: int = 80
    """Per cent of the CPU that the pods ask for."""


class Discovery(Placement):
    """The control plane."""

    autoscale: Autoscale = Autoscale()
    resources: Resources = Resources(requests={"cpu": "500m", "memory": "512Mi"}, limits={"memory": "2Gi"})
    plaintext: bool = False
    """Whether xDS is served without TLS, too, at port 15010, to whoever asks."""
    args: tuple[str, ...] = ()
    """More arguments of `pilotfish discovery`."""
    pod_annotations: dict[str, str] = {}


class Injection(Choice):
    """Which pods get a sidecar."""

    every_namespace: bool = False
    """Also in namespaces that carry no label, but for the cluster's own."""
    annotations: dict[str, str] = {}
    """What every pod with a sidecar gets beside its own."""


class Cni(Placement):
    """The node's plugin, which captures traffic in the place of an init container."""

    enabled: bool = False
    bin_dir: str = "/opt/cni/bin"
    """Of the node: where it looks for plugins."""
    conf_dir: str = "/etc/cni/net.d"
    """Of the node: where its networks are described."""
    exclude_namespaces: tuple[str, ...] = (ROOT_NAMESPACE, "kube-system")
    """Their pods start though the plugin's process is away; none of them is of the mesh."""
    repair: Literal["rules", "delete", "off"] = "rules"
    """What becomes of pods that started without their rules: they get them, or are deleted."""
    tolerations: tuple[dict[str, Any], ...] = ({"operator": "Exists"},)
    priority_class_name: str = "system-node-critical"
    resources: Resources = Resources(requests={"cpu": "50m", "memory": "64Mi"}, limits={"memory": "256Mi"})


class GatewayPort(Struct):
    port: int
    name: str
    target_port: int = 0
    """0: the same."""
    node_port: int = 0
    """0: the cluster chooses one."""


class Gateway(Placement):
    """An ingress gateway, for Gateways that select `istio: ingressgateway`."""

    enabled: bool = False
    name: str = "istio-ingressgateway"
    type: Literal["LoadBalancer", "NodePort", "ClusterIP"] = "LoadBalancer"
    ports: tuple[GatewayPort, ...] = (
        GatewayPort(name="status-port", port=15021),
        GatewayPort(name="http2", port=80, target_port=8080),
        GatewayPort(name="https", port=443, target_port=8443),
    )
    annotations: dict[str, str] = {}
    """Of its Service."""
    autoscale: Autoscale = Autoscale(min=1)
    resources: Resources = Resources(
        requests={"cpu": "100m", "memory": "128Mi"}, limits={"cpu": "2000m", "memory": "1024Mi"}
    )


class Values(Struct):
    revision: str = ""
    """Of the control plane, so that several can run side by side; "" is the one that `istio-injection` means."""
    namespace: str = ROOT_NAMESPACE
    """Where it is installed."""
    hub: str = ""
    """The registry, and what stands before the image's name in it."""
    image: str = "pilotfish"
    tag: str = _own_version()
    pull_policy: Literal["", "Always", "IfNotPresent", "Never"] = ""
    pull_secrets: tuple[str, ...] = ()
    """Secrets of the namespace."""
    crds: bool = True
    """Whether the definitions of Istio's kinds are installed."""
    mesh_config: dict[str, Any] = {}
    """As Istio's, over what the installation says itself."""
    discovery: Discovery = Discovery()
    injection: Injection = Injection()
    proxy: Proxy = Proxy()
    cluster_name: str = CLUSTER_NAME
    """What proxies call the cluster that they run in."""
    network: str = ""
    mesh_id: str = ""
    """"": the trust domain."""
    ca_address: str = ""
    """`HOST:PORT` of who signs certificates; "" for discovery itself."""
    cni: Cni = Cni()
    gateway: Gateway = Gateway()


DEFAULTS: Final = Values()
