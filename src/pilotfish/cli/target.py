"""Which pod, and which container of it, a command means. Pure.

POD        webapp-0, webapp-0.vm, pod/webapp-0, deploy/calculator-v1, deploy/calculator-v1.vm, svc/calculator
container  the one named, or the pod's first app container
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pilotfish.cli.failure import Failure
from pilotfish.model import Kind
from pilotfish.model.kinds import JOB, POD, SERVICE
from pilotfish.model.target import Target, parse_target
from pilotfish.runtime.control.views import ContainerView, PodsView, PodView, ServiceView

if TYPE_CHECKING:
    from pilotfish.model import Proxy
    from pilotfish.offline.world import World


def find_pod(view: PodsView, target: str, namespace: str) -> PodView:
    """The pod that `target` names; of several behind one name a ready one. Raises Failure where there is none."""
    return pick_pod(view, parse_pod(target, namespace), namespace)


def parse_pod(target: str, namespace: str) -> Target:
    """Raises Failure where it can't name a pod."""
    meant = parse_target(target, namespace)
    if meant is None:
        raise Failure(f'"{target}" names no pod: use NAME, NAME.NAMESPACE, pod/NAME, deploy/NAME or svc/NAME')
    return meant


def pick_pod(view: PodsView, meant: Target, namespace: str, tool: str = "pilotfish") -> PodView:
    """As `find_pod`. `tool` lists pods."""
    kind = meant.kind or POD
    found = _pods(view, kind)
    for key in meant.readings:
        if pods := found.get(key):
            return min(pods, key=lambda pod: (pod.phase == "Terminating", not pod.ready, *_newest(kind, pod), pod.name))
        if pods is not None:
            raise Failure(f'{kind.qualified_plural} "{key[1]}" in namespace "{key[0]}" has no pods')
    elsewhere = tuple(place for place, known in found if known == meant.name)
    raise _not_found(kind, meant.name, namespace, elsewhere, tool)


def find_proxy(world: World, target: str, namespace: str) -> Proxy:
    """The first proxy of `target` that manifests make, or that of the machine that has this name. Raises Failure where
    there is none."""
    machines = (each for each in world.machines.values() if target in (each.name, str(each)))
    found = (*world.find(target, namespace), *machines)
    if not found:
        there = ", ".join({**world.proxies, **world.connected}) or "none: no pod or Deployment has a sidecar"
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


def split_workload(target: str, namespace: str, kinds: Sequence[Kind]) -> tuple[Kind, tuple[tuple[str, str], ...]]:
    """`deploy/x`, `deployment/x.ns` → its kind, one of these, and the (namespace, name) pairs it may mean, likeliest
    first."""
    meant = parse_target(target, namespace)
    if meant is None or meant.kind is None or meant.kind not in kinds:
        *more, last = (f"{each.shorts[0]}/NAME" for each in kinds)
        ways = f"{', '.join(more)} or {last}" if more else last
        raise Failure(f'"{target}" names no {" or ".join(map(str, kinds))}: use {ways}')
    return meant.kind, meant.readings


def _newest(kind: Kind, pod: PodView) -> tuple[float, ...]:
    """Of a Job's pods the last one has the news."""
    return (-pod.created_at,) if kind is JOB else ()


def _pods(view: PodsView, kind: Kind) -> dict[tuple[str, str], list[PodView]]:
    """By namespace and name of each object of a kind, the pods that it stands for."""
    if kind is SERVICE:
        return {(each.namespace, each.name): [p for p in view.pods if _is_behind(p, each)] for each in view.services}
    found: dict[tuple[str, str], list[PodView]] = {}
    for pod in view.pods:
        owner, _, name = pod.owner.partition("/")
        if kind is POD or owner.lower() == kind.name.lower():
            found.setdefault((pod.namespace, pod.name if kind is POD else name), []).append(pod)
    return found


def _is_behind(pod: PodView, service: ServiceView) -> bool:
    wanted = service.selector.items()
    return bool(wanted) and pod.namespace == service.namespace and wanted <= pod.labels.items()


def _not_found(kind: Kind, name: str, namespace: str, elsewhere: tuple[str, ...], tool: str) -> Failure:
    message = f'{kind.qualified_plural} "{name}" not found in namespace "{namespace}"'
    if elsewhere:
        places = ", ".join(f'"{place}"' for place in sorted(set(elsewhere)))
        return Failure(f"{message}; it is in {places}: use -n {min(elsewhere)} or {name}.{min(elsewhere)}")
    return Failure(f"{message}; '{tool} get pods -A' lists all pods")
