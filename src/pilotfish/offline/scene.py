"""A World as requests meet it: with it, ways are told from manifests alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial

from pilotfish.capture import RuleSet, rules
from pilotfish.config.kubernetes import Pod
from pilotfish.envoy.lookup import Lookup
from pilotfish.explain.held import Held
from pilotfish.explain.scene import Family, Scene, Station
from pilotfish.inject import Sidecar
from pilotfish.mesh.registry.frontends import frontends_of
from pilotfish.model import ObjectRef, Proxy
from pilotfish.model.frontend import Frontend
from pilotfish.model.identity import Identity
from pilotfish.model.kinds import POD, SERVICE
from pilotfish.model.proxy import ProxyType
from pilotfish.offline.owners import describe_subset
from pilotfish.offline.world import World


def build_scene(world: World) -> Scene:
    manifests = world.mesh.desired.manifests
    pods = ((ref, m.resource) for ref, m in sorted(manifests.items()) if ref.kind is POD)
    shared = {machine: cache(partial(_held, world, machine)) for machine in set(world.machines.values())}
    stations = (_station(world, ref, pod, shared) for ref, pod in pods if isinstance(pod, Pod))
    return Scene({each.name: each for each in stations}, partial(_frontends, world))


def _frontends(world: World) -> tuple[Frontend, ...]:
    services = (ref for ref in sorted(world.mesh.desired.manifests) if ref.kind is SERVICE)
    return tuple(each for ref in services for each in world.mesh.graph.get(frontends_of, ref))


def _station(world: World, ref: ObjectRef, pod: Pod, shared: Mapping[Proxy, Callable[[], Held | None]]) -> Station:
    """`shared`: what the machines' proxies hold."""
    name = f"{ref.name}.{ref.namespace}"
    sidecar, proxy, machine = world.sidecars.get(name), world.proxies.get(name), world.machines.get(name)
    return Station(
        name=name,
        namespace=ref.namespace,
        addresses=tuple(dict.fromkeys((pod.status.pod_ip, *(ip.ip for ip in pod.status.pod_ips)))),
        captured=sidecar is not None and sidecar.capture is not None,
        _rules=partial(_rules, sidecar),
        _held=shared[machine] if machine is not None else partial(_held, world, proxy),
        _names=partial(world.mesh.names, proxy or Proxy.of_pod(ref.name, ref.namespace, ("0.0.0.0",))),
        is_gateway=sidecar is not None and sidecar.type is ProxyType.ROUTER,
        machine=machine.name if machine is not None else "",
        netns=machine.netns_of(ref.name, ref.namespace) if machine is not None else "",
        _identity=partial(_identity, world, ref.namespace, pod.spec.service_account_name or "default"),
    )


def _identity(world: World, namespace: str, account: str) -> str:
    return str(Identity(world.desired.mesh_config.trust_domain, namespace, account))


def _rules(sidecar: Sidecar | None, family: Family) -> RuleSet:
    if sidecar is None or sidecar.capture is None:
        return RuleSet()
    return rules(sidecar.capture, family)


def _held(world: World, proxy: Proxy | None) -> Held | None:
    if proxy is None:
        return None
    return Held.of_lookup(Lookup(world.mesh.graph, proxy), partial(describe_subset, world))
