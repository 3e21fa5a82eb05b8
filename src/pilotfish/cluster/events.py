"""Events: what `kubectl describe` and `kubectl get events` tell of an object.

    Told ─event─▶ core/v1 Event, whose name says what it tells: who tells it again finds it there

Source: https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Final

from pilotfish.cluster.conditions import Told
from pilotfish.model import ObjectRef

COMPONENT: Final = "pilotfish"
_LONGEST: Final = 1024
"""Characters of a message, as the API server has it."""
_OF_THE_CLUSTER: Final = "default"
"""The namespace of Events of objects that are in none."""


@dataclass(frozen=True, slots=True)
class About:
    """The object as the API server has it."""

    ref: ObjectRef
    api_version: str
    uid: str
    resource_version: str
    generation: int

    @property
    def namespace(self) -> str:
        """Of Events of it."""
        return self.ref.namespace or _OF_THE_CLUSTER


def warning(about: About, told: Told, instance: str, time: str) -> dict[str, Any]:
    """Of what is wrong. `instance`: who tells it. `time`: as Kubernetes writes it, whole seconds."""
    problem = told.problem
    text = f"{problem.field}: {problem.message}" if problem.field else problem.message
    refused = f" (refused by {told.proxies} proxies)" if told.proxies > 1 else ""
    made = _event(about, "Warning", problem.reason, text, instance, time)
    made["message"] = _short(f"{text}{refused}")
    if problem.field:
        made["involvedObject"]["fieldPath"] = problem.field
    return made


def mended(about: About, reason: str, instance: str, time: str) -> dict[str, Any]:
    """`reason`: of what was wrong."""
    return _event(about, "Normal", "Mended", f"{reason} is mended: it is in force as it is written", instance, time)


def _event(about: About, type: str, reason: str, text: str, instance: str, time: str) -> dict[str, Any]:
    involved = {
        "apiVersion": about.api_version,
        "kind": about.ref.kind.name,
        "namespace": about.ref.namespace,
        "name": about.ref.name,
        "uid": about.uid,
        "resourceVersion": about.resource_version,
    }
    # Of what is said of this form of the object. How many have said it does not make it another.
    digest = blake2b(f"{about.uid}\0{about.generation}\0{reason}\0{text}".encode(), digest_size=8).hexdigest()
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{about.ref.name[:200]}.{digest}", "namespace": about.namespace},
        "involvedObject": {name: value for name, value in involved.items() if value},
        "type": type,
        "reason": reason,
        "message": _short(text),
        "source": {"component": COMPONENT, "host": instance},
        "reportingComponent": COMPONENT,
        "reportingInstance": instance,
        "firstTimestamp": time,
        "lastTimestamp": time,
        "count": 1,
    }


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
