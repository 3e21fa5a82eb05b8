"""Which pod, and which container of it, a command means. Pure.

POD        webapp-0, webapp-0.vm, pod/webapp-0, deploy/calculator-v1, deploy/calculator-v1.vm
container  the one named, or the pod's first app container
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pilotfish.cli.failure import Failure
from pilotfish.model.kinds import DEPLOYMENT, POD
from pilotfish.model.target import Target, parse_target
from pilotfish.runtime.control.views import ContainerView, PodView

if TYPE_CHECKING:
    from pilotfish.model import Proxy
    from pilotfish.offline.world import World


def find_pod(pods: tuple[PodView, ...], target: str, namespace: str) -> PodView:
    """The pod that `target` names. Raises Failure where there is none."""
    meant = parse_target(target, namespace)
    if meant is None:
        raise Failure(f'"{target}" names no pod: use NAME, NAME.NAMESPACE, pod/NAME or deploy/NAME')
    if meant.kind is DEPLOYMENT:
        return _of_deployment(pods, meant, namespace)
    for reading in meant.readings:
        for pod in pods:
            if (pod.namespace, pod.name) == reading:
                return pod
    raise _not_found(POD.plural, meant.name, namespace, tuple(pod.namespace for pod in pods if pod.name == meant.name))


def find_proxy(world: World, target: str, namespace: str) -> Proxy:
    """The first proxy of `target` that manifests make. Raises Failure where there is none."""
    found = world.find(target, namespace)
    if not found:
        there = ", ".join(world.proxies) or "none: no pod or Deployment has a sidecar"
        raise Failure(f'the manifests have no proxy "{target}" (namespace {namespace}); they have {there}')
    return found[0]


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
    meant = parse_target(target, namespace)
    if meant is None or meant.kind is POD:
        raise Failure(f'"{target}" names no Deployment: use deploy/NAME')
    return meant.readings


def _of_deployment(pods: tuple[PodView, ...], meant: Target, namespace: str) -> PodView:
    owned = [pod for pod in pods if pod.owner]
    for place, name in meant.readings:
        mine = [pod for pod in owned if pod.namespace == place and pod.owner.lower() == f"deployment/{name}"]
        if mine:
            return min(mine, key=lambda pod: (pod.phase == "Terminating", not pod.ready, pod.name))
    elsewhere = tuple(pod.namespace for pod in owned if pod.owner.lower() == f"deployment/{meant.name}")
    raise _not_found(DEPLOYMENT.qualified_plural, meant.name, namespace, elsewhere)


def _not_found(kind: str, name: str, namespace: str, elsewhere: tuple[str, ...]) -> Failure:
    message = f'{kind} "{name}" not found in namespace "{namespace}"'
    if elsewhere:
        places = ", ".join(f'"{place}"' for place in sorted(set(elsewhere)))
        return Failure(f"{message}; it is in {places}: use -n {min(elsewhere)} or {name}.{min(elsewhere)}")
    return Failure(f"{message}; 'pilotfish get pods -A' lists all pods")
