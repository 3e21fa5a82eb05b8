"""A mesh as its objects say, with every proxy that it would have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from pilotfish.agent.identity import node_metadata
from pilotfish.config.desired import DesiredState
from pilotfish.config.injection import Revision, is_asked
from pilotfish.config.kubernetes import Metadata, Pod
from pilotfish.config.manifest import Manifest, locate
from pilotfish.config.proxying import with_proxy
from pilotfish.discovery.mesh import Mesh
from pilotfish.inject import Sidecar, build_sidecar
from pilotfish.inject.node_mode import IN_A_CLUSTER
from pilotfish.inject.proxy_config import by_age
from pilotfish.inject.sidecar import Place
from pilotfish.model import ObjectRef, Problem, Proxy
from pilotfish.model.kinds import NAMESPACE, POD
from pilotfish.model.target import parse_target
from pilotfish.model.wellknown import PROXY_CONTAINER
from pilotfish.node.gateways import find_problems
from pilotfish.offline.planning import plan
from pilotfish.offline.proxies import MACHINE, describe_machine, describe_proxy


@dataclass(frozen=True, slots=True)
class World:
    desired: DesiredState
    """As the user wrote it."""
    mesh: Mesh
    """What discovery would know: with all that a mesh adds."""
    proxies: Mapping[str, Proxy]
    """By `name.namespace`, in order; of a pod that its machine's proxy serves, the one that it would have."""
    workloads: Mapping[str, ObjectRef]
    """Of every pod, by `name.namespace`: the Deployment whose it is, or the pod itself."""
    sidecars: Mapping[str, Sidecar] = field(default_factory=dict, repr=False)
    """By `name.namespace` as well: what a pod has of the mesh."""
    machines: Mapping[str, Proxy] = field(default_factory=dict, repr=False)
    """Those proxies, by the pods (`name.namespace`) that they serve."""
    pod_problems: tuple[Problem, ...] = field(default=(), repr=False)
    """What is wrong with what pods ask of their sidecars."""
    now: float = 0.0
    """Seconds since the epoch, by which certificates may have expired."""

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All of them: with each object, between objects, with pods."""
        manifests = self.desired.manifests
        between = (locate(p, manifests.get(p.ref) if p.ref else None) for p in self.mesh.problems(self.now))
        of_gateways = find_problems(manifests)
        return tuple(dict.fromkeys((*self.desired.problems, *self.pod_problems, *of_gateways, *between)))

    @property
    def connected(self) -> Mapping[str, Proxy]:
        """Those that discovery would serve, by `name.namespace`."""
        own = {name: proxy for name, proxy in self.proxies.items() if name not in self.machines}
        return own | {str(proxy): proxy for proxy in self.machines.values()}

    def find(self, name: str, namespace: str) -> tuple[Proxy, ...]:
        """The proxies of `find_pods`."""
        return tuple(self.proxies[pod] for pod in self.find_pods(name, namespace) if pod in self.proxies)

    def find_pods(self, target: str, namespace: str) -> tuple[str, ...]:
        """The pods (`NAME.NAMESPACE`) that are meant by what model/target.py reads, or by a workload's name alone. Of a
        workload, all of its pods."""
        meant = parse_target(target, namespace)
        if meant is None:
            return ()
        found: tuple[str, ...] = ()
        for place, name in meant.readings:
            if meant.kind in (None, POD) and f"{name}.{place}" in self.workloads:
                return (f"{name}.{place}",)
            found = found or tuple(
                pod
                for pod, workload in self.workloads.items()
                if (workload.name, workload.namespace) == (name, place) and meant.kind in (None, workload.kind)
            )
        return found


def build(desired: DesiredState, now: float = 0.0, revision: Revision | None = None, proxying: str = "") -> World:
    """`now`: seconds since the epoch; at 0 nothing has expired. `revision`: of a cluster, whose webhook adds sidecars;
    None: of one machine. `proxying`: what `up --proxy` said there."""
    planned, owners = plan(desired.manifests, desired.mesh_config)
    mesh_config, machine = with_proxy(desired.mesh_config, proxying), _machine(planned.values())
    configs = by_age(manifest.resource for manifest in desired.manifests.values())
    proxies: dict[str, Proxy] = {}
    workloads: dict[str, ObjectRef] = {}
    sidecars: dict[str, Sidecar] = {}
    machines: dict[str, Proxy] = {}
    problems: list[Problem] = []
    for ref, manifest in sorted(planned.items()):
        pod = manifest.resource
        if not isinstance(pod, Pod):
            continue
        workload = workloads[f"{ref.name}.{ref.namespace}"] = owners.get(ref, ref)
        of_namespace = _metadata(planned.get(NAMESPACE.ref("", ref.namespace)))
        if revision is not None and not _is_given_one(pod, of_namespace.labels, revision):
            continue
        sidecar, said = build_sidecar(
            pod,
            mesh_config,
            workload=workload,
            ipv6=False,
            source=manifest.source,
            namespace_labels=of_namespace.labels if revision is None else {},
            namespace_annotations=of_namespace.annotations,
            proxy_configs=configs,
            place=Place(lacks_node_proxy="" if revision is None else IN_A_CLUSTER),
        )
        problems += said
        if sidecar is not None:
            pod = _marked(pod, sidecar, machine)
            planned[ref] = replace(manifest, resource=pod)
            proxy = describe_proxy(
                name=ref.name,
                namespace=ref.namespace,
                addresses=_addresses(pod),
                labels=pod.metadata.labels,
                metadata=node_metadata(sidecar.proxy_config, sidecar.metadata),
                type=sidecar.type,
            )
            if proxy is not None:
                proxies[str(proxy)] = proxy
                sidecars[str(proxy)] = sidecar
            if proxy is not None and sidecar.on_node:
                machines[str(proxy)] = describe_machine(pod.spec.node_name, mesh_config.root_namespace)
    mesh = Mesh()
    mesh.apply(replace(desired, manifests=planned))
    located = (locate(p, desired.manifests.get(p.ref) if p.ref else None) for p in problems)
    return World(desired, mesh, proxies, workloads, sidecars, machines, tuple(dict.fromkeys(located)), now)


def _is_given_one(pod: Pod, of_namespace: Mapping[str, str], revision: Revision) -> bool:
    """What a cluster holds has been asked for when it was made, and has its proxy or has none."""
    if pod.metadata.uid:
        return any(each.name == PROXY_CONTAINER for each in (*pod.spec.containers, *pod.spec.init_containers))
    return is_asked(revision, pod.metadata.namespace, of_namespace, pod.metadata.labels)


def _machine(manifests: Iterable[Manifest]) -> str:
    """On which those pods come to be that say none."""
    pods = (m.resource for m in manifests if isinstance(m.resource, Pod))
    return next((pod.spec.node_name for pod in pods if pod.spec.node_name), MACHINE)


def _marked(pod: Pod, sidecar: Sidecar, machine: str) -> Pod:
    """With the labels and annotations that it gets with its sidecar, and the machine that it is on."""
    labels = {**sidecar.labels, **pod.metadata.labels}
    annotations = {**pod.metadata.annotations, **sidecar.annotations}
    metadata = msgspec.structs.replace(pod.metadata, labels=labels, annotations=annotations)
    on = pod.spec.node_name or (machine if sidecar.on_node else "")
    return msgspec.structs.replace(pod, metadata=metadata, spec=msgspec.structs.replace(pod.spec, node_name=on))


def _metadata(namespace: Manifest | None) -> Metadata:
    return namespace.resource.metadata if namespace is not None else Metadata()


def _addresses(pod: Pod) -> tuple[str, ...]:
    return tuple(dict.fromkeys((pod.status.pod_ip, *(ip.ip for ip in pod.status.pod_ips))))
