"""What an earlier injection added to a pod, and the pod without it: API servers ask again when another webhook has
changed a pod, and who injects into files may meet the webhook later."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pilotfish.inject.pod import probes, prometheus
from pilotfish.inject.pod.installation import Document
from pilotfish.inject.pod.proxy import PROBERS, PROMETHEUS
from pilotfish.model.wellknown import PROXY_CONTAINER, SIDECAR_STATUS

OVERRIDES: Final = "proxy.istio.io/overrides"
"""The annotation with what the pod's author wrote of containers that injection adds."""


@dataclass(frozen=True, slots=True)
class Previous:
    """By name. Nothing of a pod that was not injected before."""

    init_containers: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()

    @property
    def is_any(self) -> bool:
        return bool(self.init_containers or self.containers)

    def added(self, container: str) -> bool:
        return container in self.init_containers or container in self.containers


def read_previous(annotations: Document) -> Previous:
    """What can't be read is nobody's injection."""
    found = _object(annotations.get(SIDECAR_STATUS))
    return Previous(*(_names(found.get(key)) for key in ("initContainers", "containers", "volumes")))


def read_overrides(annotations: Document) -> Iterator[tuple[str, Document]]:
    """(the list in which it stood, a container as it was written)."""
    found = _object(annotations.get(OVERRIDES))
    for listed in probes.LISTS:
        containers = found.get(listed)
        for each in containers if isinstance(containers, list) else ():
            if isinstance(each, dict) and isinstance(each.get("name"), str):
                yield listed, each


def original(pod: Document, previous: Previous) -> Document:
    """A copy as the pod's author, and other webhooks, have it: without what was added, the rest as it was."""
    found = copy.deepcopy(pod)
    if not previous.is_any:
        return found
    metadata, spec = found["metadata"], found["spec"]
    proxy = find_proxy(spec) or {}
    probes.restore(spec, variable(proxy, PROBERS))
    annotations = prometheus.restore(metadata["annotations"], variable(proxy, PROMETHEUS))
    overrides = tuple(read_overrides(annotations))
    for name in (SIDECAR_STATUS, OVERRIDES):
        annotations.pop(name, None)
    metadata["annotations"] = annotations
    for name, added in (
        ("initContainers", previous.init_containers),
        ("containers", previous.containers),
        ("volumes", previous.volumes),
    ):
        if name in spec:
            spec[name] = [each for each in spec[name] or () if each.get("name") not in added]
    for listed, container in overrides:
        spec.setdefault(listed, []).append(copy.deepcopy(container))
    return found


def find_proxy(spec: Document) -> Document | None:
    found = (each for name in probes.LISTS for each in spec.get(name) or () if each.get("name") == PROXY_CONTAINER)
    return next(found, None)


def variable(container: Document, name: str) -> str:
    """The value of a container's variable, or ""."""
    found = (each.get("value") for each in container.get("env") or () if each.get("name") == name)
    return next((value for value in found if isinstance(value, str)), "")


def _object(text: object) -> dict[str, Any]:
    if not isinstance(text, str):
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _names(value: object) -> tuple[str, ...]:
    return tuple(each for each in value if isinstance(each, str)) if isinstance(value, list) else ()
