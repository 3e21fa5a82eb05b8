"""Which pod, and which container of it, a command means. Pure.

POD        webapp-0, webapp-0.vm, pod/webapp-0, deploy/calculator-v1, deploy/calculator-v1.vm
container  the one named, or the pod's first app container
"""

from __future__ import annotations

from pilotfish.cli.failure import Failure
from pilotfish.model.kinds import DEPLOYMENT, POD
from pilotfish.runtime.control.views import ContainerView, PodView

_DEPLOYMENT = frozenset({*DEPLOYMENT.words, DEPLOYMENT.qualified, DEPLOYMENT.qualified_plural})
_POD = frozenset(POD.words)


def find_pod(pods: tuple[PodView, ...], target: str, namespace: str) -> PodView:
    """The pod that `target` names. Raises Failure where there is none."""
    kind, slash, name = target.rpartition("/")
    if slash and kind.lower() not in _DEPLOYMENT | _POD:
        raise Failure(f'"{target}" names no pod: use NAME, NAME.NAMESPACE, pod/NAME or deploy/NAME')
    if kind.lower() in _DEPLOYMENT:
        return _of_deployment(pods, name, namespace)
    for place, wanted in _readings(name, namespace):
        for pod in pods:
            if (pod.namespace, pod.name) == (place, wanted):
                return pod
    raise _not_found(POD.plural, name, namespace, tuple(pod.namespace for pod in pods if pod.name == name))


def find_container(pod: PodView, name: str | None) -> ContainerView:
    """The container called `name`; None means the first app container. Raises Failure where there is none."""
    for container in pod.containers:
        if name is None and container.kind == "app":
            return container
        if container.name == name:
            return container
    if name is None:
        raise Failure(f"pod {pod.name}.{pod.namespace} has no container yet: it is {pod.reason or pod.phase}")
    names = ", ".join(container.name for container in pod.containers) or "none yet"
    raise Failure(f"container {name} is not in pod {pod.name}.{pod.namespace}; it has: {names}")


def split_deployment(target: str, namespace: str) -> tuple[tuple[str, str], ...]:
    """`deploy/x`, `deployment/x.ns` → the (namespace, name) pairs it may mean, likeliest first."""
    kind, slash, name = target.rpartition("/")
    if not name or (slash and kind.lower() not in _DEPLOYMENT):
        raise Failure(f'"{target}" names no Deployment: use deploy/NAME')
    return _readings(name, namespace)


def _of_deployment(pods: tuple[PodView, ...], name: str, namespace: str) -> PodView:
    owned = [pod for pod in pods if pod.owner]
    for place, wanted in _readings(name, namespace):
        mine = [pod for pod in owned if pod.namespace == place and pod.owner.lower() == f"deployment/{wanted}"]
        if mine:
            return min(mine, key=lambda pod: (pod.phase == "Terminating", not pod.ready, pod.name))
    elsewhere = tuple(pod.namespace for pod in owned if pod.owner.lower() == f"deployment/{name}")
    raise _not_found(DEPLOYMENT.qualified_plural, name, namespace, elsewhere)


def _readings(name: str, namespace: str) -> tuple[tuple[str, str], ...]:
    """A dot may be part of a name, or stand before a namespace."""
    head, dot, tail = name.rpartition(".")
    return ((namespace, name), (tail, head)) if dot else ((namespace, name),)


def _not_found(kind: str, name: str, namespace: str, elsewhere: tuple[str, ...]) -> Failure:
    message = f'{kind} "{name}" not found in namespace "{namespace}"'
    if elsewhere:
        places = ", ".join(f'"{place}"' for place in sorted(set(elsewhere)))
        return Failure(f"{message}; it is in {places}: use -n {min(elsewhere)} or {name}.{min(elsewhere)}")
    return Failure(f"{message}; 'pilotfish get pods -A' lists all pods")
