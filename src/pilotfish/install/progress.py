"""What an object of an installation still lacks, as its status says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pilotfish.install.inventory import DEFINITION, REMOVED, kind_of
from pilotfish.install.names import Object
from pilotfish.model import Kind
from pilotfish.model.kinds import DAEMON_SET, DEPLOYMENT

_WEBHOOKS: Final = REMOVED[:2]
_IN_TIME: Final = ("ContainerCreating", "PodInitializing")
"""What a container waits for that is no trouble."""


def is_workload(kind: Kind) -> bool:
    return kind in (DEPLOYMENT, DAEMON_SET)


def unready(live: Object) -> str:
    """The rest of a sentence that begins with it; "" where nothing is lacking, and for a kind that is there when it is
    stored."""
    kind = kind_of(live)
    if kind is DEFINITION:
        return "" if _holds(live, "Established") else "is not served by the API server yet"
    if is_workload(kind):
        return _unready_workload(kind, live)
    if kind in _WEBHOOKS:
        lacks = any(not webhook["clientConfig"].get("caBundle") for webhook in live.get("webhooks") or ())
        return "has no certificate yet: whoever leads the control plane writes it" if lacks else ""
    return ""


def _unready_workload(kind: Kind, live: Object) -> str:
    status, metadata = live.get("status") or {}, live["metadata"]
    if kind is DEPLOYMENT:
        wanted = live["spec"].get("replicas", 1)
        counts = [status.get(name, 0) for name in ("updatedReplicas", "availableReplicas")]
        left = status.get("replicas", 0) - wanted
    else:
        wanted = status.get("desiredNumberScheduled", 0)
        counts = [status.get(name, 0) for name in ("updatedNumberScheduled", "numberAvailable")]
        left = 0
    is_seen = status.get("observedGeneration", 0) >= metadata.get("generation", 0)
    if is_seen and min(counts) >= wanted and left <= 0:
        return ""
    reached = min(counts) if is_seen else 0
    pods = "pod" if wanted == 1 else "pods"
    ending = f", and {left} of before {'is' if left == 1 else 'are'} ending" if left > 0 and reached >= wanted else ""
    blocked = _said(live, "ReplicaFailure")
    counted = f"has {reached} of {wanted} {pods} available{ending}"
    return f"{counted}: {blocked}" if blocked else counted


def _condition(live: Object, kind: str) -> Mapping[str, Any]:
    conditions = (live.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind), {})


def _holds(live: Object, kind: str) -> bool:
    return _condition(live, kind).get("status") == "True"


def _said(live: Object, kind: str) -> str:
    return str(_condition(live, kind).get("message", "")) if _holds(live, kind) else ""


def pod_trouble(pod: Object) -> str:
    """What keeps a pod from being ready; "" where nothing is said."""
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    scheduled = _condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return f"pod {name} is on no node: {scheduled.get('message', scheduled.get('reason', ''))}"
    statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for container in statuses:
        waiting = (container.get("state") or {}).get("waiting") or {}
        ended = (container.get("lastState") or {}).get("terminated") or {}
        if waiting and waiting.get("reason") not in _IN_TIME:
            told = waiting.get("message") or f"it ended with code {ended.get('exitCode')}"
            return f"container {container['name']} of pod {name}: {waiting.get('reason')}: {told}"
    running = [each["name"] for each in statuses if not each.get("ready") and "running" in (each.get("state") or {})]
    return f"container {running[0]} of pod {name} runs, and is not ready; its log may say why" if running else ""
