"""Labels and annotations of a pod with a proxy, and which workload it is of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from pilotfish.config.injection import REVISION
from pilotfish.config.kubernetes import Metadata, OwnerReference
from pilotfish.inject.pod.installation import Document, Installation
from pilotfish.inject.sidecar import Sidecar
from pilotfish.model import Kind, ObjectRef
from pilotfish.model.kinds import CRON_JOB, DEPLOYMENT, JOB, POD, REPLICA_SET, group_of, kind_written
from pilotfish.model.proxy import ProxyType
from pilotfish.model.wellknown import PROXY_CONTAINER

NETWORK: Final = "topology.istio.io/network"
_NAME: Final = "service.istio.io/canonical-name"
_CANONICAL_REVISION: Final = "service.istio.io/canonical-revision"
_LONGEST_LABEL: Final = 63
_SHOWN_FIRST: Final = ("kubectl.kubernetes.io/default-container", "kubectl.kubernetes.io/default-logs-container")
_OF_CRON_JOB: Final = re.compile(r"(.+)-\d{8,10}")


def build_labels(
    labels: Mapping[str, str], sidecar: Sidecar, workload: ObjectRef, installation: Installation
) -> dict[str, str]:
    """Beside its own, which go before them."""
    named = next((labels[key] for key in ("app.kubernetes.io/name", "app") if labels.get(key)), workload.name)
    version = next((labels[key] for key in ("app.kubernetes.io/version", "version") if labels.get(key)), "latest")
    found = {**sidecar.labels, _NAME: named[:_LONGEST_LABEL].rstrip("-._"), _CANONICAL_REVISION: version}
    if sidecar.type is ProxyType.ROUTER:
        found[REVISION] = installation.revision
    if network := dict(installation.environment).get("ISTIO_META_NETWORK") or installation.values.network:
        found[NETWORK] = network
    return {name: value for name, value in found.items() if name not in labels}


def build_annotations(
    annotations: Mapping[str, str], containers: Iterable[Document], sidecar: Sidecar, installation: Installation
) -> dict[str, str]:
    found = dict(installation.values.annotations)
    apps = [each["name"] for each in containers if each["name"] != PROXY_CONTAINER]
    is_gateway = sidecar.type is ProxyType.ROUTER
    if not is_gateway:
        found[REVISION] = installation.revision
    if apps and (not is_gateway or len(apps) == 1):
        # What `kubectl logs` and `kubectl exec` mean where nobody says which.
        found |= {name: apps[0] for name in _SHOWN_FIRST if name not in annotations}
    return {**found, **sidecar.annotations}


def render_status(fragment: Document, revision: str) -> str:
    """The annotation that says what was added."""
    spec = fragment["spec"]
    listed = {
        key: [each["name"] for each in spec.get(key) or ()] or None
        for key in ("initContainers", "containers", "volumes", "imagePullSecrets")
    }
    return msgspec.json.encode({**listed, "revision": revision}).decode()


def workload_of(pod: Metadata) -> ObjectRef:
    """The Deployment, CronJob ... that a pod is made by, told by its owner and its name, as Istio tells it; else the
    pod itself."""
    owner = next((each for each in pod.owner_references if each.controller), None)
    if owner is None:
        return POD.ref(pod.namespace, pod.name or pod.generate_name.rstrip("-") or "unnamed")
    kind, name = _kind_of(owner), owner.name
    hashed = pod.labels.get("pod-template-hash", "")
    if kind is REPLICA_SET and hashed and name.endswith(f"-{hashed}"):
        return DEPLOYMENT.ref(pod.namespace, name.removesuffix(f"-{hashed}"))
    if kind is JOB and (found := _OF_CRON_JOB.fullmatch(name)):
        return CRON_JOB.ref(pod.namespace, found[1])
    return kind.ref(pod.namespace, name)


def _kind_of(owner: OwnerReference) -> Kind:
    """Whatever makes pods, whether or not it is known here."""
    known = kind_written(owner.kind, owner.api_version)
    if known.versions and known.plural:
        return known
    group, _, version = owner.api_version.rpartition("/")
    return Kind(owner.kind, f"{owner.kind.lower()}s", group_of(owner.api_version) or group, (version or "v1",))
