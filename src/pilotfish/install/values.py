"""What can be chosen of an installation, and what holds where nothing is said: the one place of every default.

`pilotfish install --set`, `-f values.yaml` and the chart's values are these fields, in camelCase.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final, Literal

import msgspec

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
    resources: Resources = Resources(requests={"cpu": "200m", "memory": "256Mi"}, limits={"memory": "2Gi"})
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


class Gateway(Placement):
    """An ingress gateway, for Gateways that select `istio: ingressgateway`."""

    enabled: bool = False
    type: Literal["LoadBalancer", "NodePort", "ClusterIP"] = "LoadBalancer"
    ports: tuple[dict[str, Any], ...] = (
        {"name": "status-port", "port": 15021, "targetPort": 15021},
        {"name": "http2", "port": 80, "targetPort": 8080},
        {"name": "https", "port": 443, "targetPort": 8443},
    )
    """Of its Service, as there."""
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


def as_tree(value: Any) -> Any:
    """With every field, as a file of values has them."""
    if isinstance(value, msgspec.Struct):
        held = {field.encode_name: getattr(value, field.name) for field in msgspec.structs.fields(value)}
        return {name: as_tree(item) for name, item in held.items()}
    return msgspec.to_builtins(value)


def chosen(values: Values) -> dict[str, Any]:
    """What is not the default, which may be another in a later release; null for what was taken out."""
    found: dict[str, Any] = _difference(as_tree(values), as_tree(DEFAULTS))
    return found


def _difference(value: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(base.keys() - value.keys())
    for name, held in value.items():
        default = base.get(name)
        if isinstance(held, dict) and isinstance(default, dict):
            held, default = _difference(held, default), {}
        if held != default:
            found[name] = held
    return found
