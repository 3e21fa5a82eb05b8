"""Which pods of a cluster are to have a sidecar, and which have one; and a pod that tries it."""

from __future__ import annotations

from typing import Final

from pilotfish.config.injection import DEFAULT_REVISION, INJECT, REVISION, named_by
from pilotfish.install.inventory import labels_of
from pilotfish.install.names import Object
from pilotfish.install.values import Values
from pilotfish.model.wellknown import PROXY_CONTAINER

_OVER: Final = ("Succeeded", "Failed")


def asked_of(namespace: Object) -> str:
    """The revision, or the tag of one, that a namespace's new pods get their sidecars from; "" for none."""
    return named_by(labels_of(namespace)) or ""


def lacks_sidecar(pod: Object) -> bool:
    """Of a pod of a namespace that is injected."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    if labels_of(pod).get(INJECT) == "false" or spec.get("hostNetwork") or status.get("phase") in _OVER:
        return False
    if (pod["metadata"].get("annotations") or {}).get(INJECT) == "false":
        return False
    return not has_sidecar(pod)


def has_sidecar(pod: Object) -> bool:
    spec = pod.get("spec") or {}
    containers = (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
    return any(container.get("name") == PROXY_CONTAINER for container in containers)


def revision_of_proxy(pod: Object) -> str:
    """As whoever injected it has written it."""
    annotations = pod["metadata"].get("annotations") or {}
    return str(annotations.get(REVISION) or labels_of(pod).get(REVISION) or DEFAULT_REVISION)


def trial(namespace: Object, revision: str) -> Object:
    """A pod that asks for a sidecar of the revision, in whatever namespace: it is never stored."""
    asked = {} if asked_of(namespace) else {INJECT: "true"}
    if revision != DEFAULT_REVISION and asked:
        asked[REVISION] = revision
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pilotfish-check", "namespace": namespace["metadata"]["name"], "labels": asked},
        "spec": {"containers": [{"name": "app", "image": Values().image}]},
    }
