"""What would come in the way of an installation: the cluster's version, its plugins, what others have in it.

Each is a Problem: an error breaks the installation or what it is for, a warning part of it, and a note says what there
is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pilotfish.cluster.paths import Attributes
from pilotfish.install.injecting import asked_of
from pilotfish.install.inventory import Conflict, is_ours, ref_of
from pilotfish.install.names import Object
from pilotfish.install.values import Values
from pilotfish.model import Problem, Severity
from pilotfish.model.kinds import CONFIG_MAP, NAMESPACE, NODE

LEAST: Final = (1, 28)
"""From which on webhooks have matchConditions, which the installation's need."""
NATIVE_SIDECARS: Final = (1, 29)
ENFORCED: Final = "pod-security.kubernetes.io/enforce"
_STRICT: Final = ("baseline", "restricted")
"""Levels that allow no pod the init container that sets capture up.
Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/"""
_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)")
_ARCHITECTURES: Final = ("amd64", "arm64")


@dataclass(frozen=True, slots=True)
class Cluster:
    """What was read of it; what may not be read is empty."""

    version: str
    nodes: tuple[Object, ...] = ()
    namespaces: tuple[Object, ...] = ()
    definitions: tuple[Object, ...] = ()
    """CustomResourceDefinitions of Istio's kinds."""
    webhooks: tuple[Object, ...] = ()
    """Mutating and validating webhook configurations."""
    settings: tuple[Object, ...] = ()
    """ConfigMaps of kube-system that say how its network works (`SETTINGS`)."""


SETTINGS: Final = ("kube-proxy", "cilium-config")


def find_problems(cluster: Cluster, values: Values, conflicts: Iterable[Conflict]) -> tuple[Problem, ...]:
    return (
        *_of_version(cluster.version),
        *_of_nodes(cluster.nodes),
        *(_of_conflict(conflict) for conflict in conflicts),
        *_of_istio(cluster),
        *_of_network(cluster.settings, values),
        *_of_pod_security(cluster.namespaces, values),
    )


def _of_version(written: str) -> Iterator[Problem]:
    found = _VERSION.match(written)
    if found is None:
        yield _warning("Version", f"the API server's version {written!r} is not understood; 1.28 is the least")
        return
    version = (int(found[1]), int(found[2]))
    if version < LEAST:
        yield _error(
            "Version",
            f"Kubernetes {written} lacks what the webhooks need, so it can't be installed; upgrade it to 1.28",
        )
    elif version < NATIVE_SIDECARS:
        text = "has no sidecars that start before an app and end after it, so that an app may be without its proxy then"
        yield _warning("Version", f"Kubernetes {written} {text}; upgrade it to 1.29")
    else:
        yield _note("Version", f"Kubernetes {written}")


def _of_nodes(nodes: Iterable[Object]) -> Iterator[Problem]:
    for node in nodes:
        told = (node.get("status") or {}).get("nodeInfo") or {}
        system, machine = told.get("operatingSystem", "linux"), told.get("architecture", "amd64")
        ref = NODE.ref("", node["metadata"]["name"])
        if system != "linux":
            yield _warning("Node", f"it runs {system}, where no sidecar does: its pods stay out of the mesh", ref)
        elif machine not in _ARCHITECTURES:
            yield _warning(
                "Node", f"its processor is {machine}, for which Envoy is not built; keep the mesh's pods off it", ref
            )


def _of_conflict(conflict: Conflict) -> Problem:
    text = f"it is {conflict.owner}, and is not taken over; remove it, or install beside it with --revision NAME"
    return _error("Conflict", text, conflict.ref)


def _of_istio(cluster: Cluster) -> Iterator[Problem]:
    for each in cluster.webhooks:
        if is_ours(each) or not _calls_istio(each):
            continue
        text = "it is Istio's: pods that both its labels and those of this mesh fit would get two sidecars"
        yield _warning("Istio", f"{text}; label each namespace for one of the two, and use --revision", ref_of(each))
    foreign = [each for each in cluster.definitions if not is_ours(each)]
    if foreign:
        stored = sorted(
            {version for each in foreign for version in (each.get("status") or {}).get("storedVersions") or ()}
        )
        text = f"definitions of Istio's kinds are there ({len(foreign)}; objects stored as {', '.join(stored)})"
        yield _note("Definitions", f"{text}, and are kept as they are")


def _calls_istio(configuration: Object) -> bool:
    services = (webhook["clientConfig"].get("service") or {} for webhook in configuration.get("webhooks") or ())
    return any(str(service.get("name", "")).startswith("istiod") for service in services)


def _of_network(settings: Iterable[Object], values: Values) -> Iterator[Problem]:
    data = {each["metadata"]["name"]: each.get("data") or {} for each in settings}
    if "kube-proxy" in data:
        mode = re.search(r"^mode:\s*\"?(\w*)", data["kube-proxy"].get("config.conf", ""), re.MULTILINE)
        yield _note("Network", f"kube-proxy runs in mode {(mode and mode[1]) or 'iptables'}")
    if "cilium-config" in data:
        yield from _of_cilium(data["cilium-config"], values)


def _of_cilium(data: Mapping[str, Any], values: Values) -> Iterator[Problem]:
    """Source: https://docs.cilium.io/en/stable/network/servicemesh/istio/"""
    ref = CONFIG_MAP.ref("kube-system", "cilium-config")
    replaces = data.get("kube-proxy-replacement") in ("true", "strict")
    if replaces and data.get("bpf-lb-sock-hostns-only") != "true":
        text = "Cilium chooses a Service's endpoint in the pod, before a sidecar sees the call: routes have no effect"
        yield _error("Network", f'{text}; set bpf-lb-sock-hostns-only to "true" (socketLB.hostNamespaceOnly)', ref)
    if values.cni.enabled and data.get("cni-exclusive") == "true":
        text = "Cilium removes other plugins from the node, so that nothing is captured"
        yield _error("Network", f'{text}; set cni-exclusive to "false" (cni.exclusive)', ref)


def _of_pod_security(namespaces: Iterable[Object], values: Values) -> Iterator[Problem]:
    for namespace in namespaces:
        name = namespace["metadata"]["name"]
        level = (namespace["metadata"].get("labels") or {}).get(ENFORCED, "")
        ref = NAMESPACE.ref("", name)
        if level in _STRICT and not values.cni.enabled and asked_of(namespace):
            text = f"it enforces {level!r}, which refuses the init container that sets capture up, and so its pods"
            yield _error("PodSecurity", f"{text}; install with --set cni.enabled=true", ref)
        if level in _STRICT and values.cni.enabled and name == values.namespace:
            text = f"it enforces {level!r}, which refuses the node's plugin"
            yield _error("PodSecurity", f"{text}; label it {ENFORCED}=privileged", ref)


def of_permission(asked: Attributes) -> Problem:
    return _error(
        "Forbidden",
        f"whoever installs has to {asked.verb} {asked.what}, and you may not; have it granted: {asked.rule}",
    )


def _error(reason: str, message: str, ref: Any = None) -> Problem:
    return Problem(ref, "", reason, message, Severity.ERROR)


def _warning(reason: str, message: str, ref: Any = None) -> Problem:
    return Problem(ref, "", reason, message, Severity.WARNING)


def _note(reason: str, message: str, ref: Any = None) -> Problem:
    return Problem(ref, "", reason, message, Severity.INFO)
