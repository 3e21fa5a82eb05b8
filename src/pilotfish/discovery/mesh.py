"""The mesh as discovery knows it: the graph, what the user wants, and what is known to work.

DesiredState ─apply─▶ Graph ─resource_set─▶ ResourceSet
                        ▲
         Quarantine ────┘ exclude, readmit
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import replace

from pilotfish.config.changes import find_changes
from pilotfish.config.desired import DesiredState
from pilotfish.config.kubernetes import Pod
from pilotfish.config.manifest import Manifest
from pilotfish.config.proxying import machine_of
from pilotfish.derive import Graph, Origin
from pilotfish.envoy.owners import owners
from pilotfish.envoy.resources import resource_set, roots
from pilotfish.envoy.values import Resource, ResourceSet
from pilotfish.mesh import inputs
from pilotfish.mesh.allocation import given, hosts_without_address
from pilotfish.mesh.discovery_selectors import Selection
from pilotfish.mesh.ingresses import made_of, unserved_ingresses, with_ingresses
from pilotfish.mesh.policy.policies import scope_of
from pilotfish.mesh.problems.across import problems
from pilotfish.mesh.problems.credentials import expiries, overdue
from pilotfish.mesh.registry.names import name_table
from pilotfish.mesh.registry.workloads import residents, workload
from pilotfish.mesh.security.keys import apply_keys, key_host, wanted_keys
from pilotfish.model import ObjectRef, Problem, Proxy
from pilotfish.model.authentication import KeyHost, Keys, KeySource
from pilotfish.model.kinds import POD
from pilotfish.model.names import NameTable
from pilotfish.model.proxy import ProxyType


class Mesh:
    """Everything that follows from the user's objects. Not for several threads."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.desired = DesiredState()
        """What the mesh takes notice of, with what Ingresses come to."""
        self._selection = Selection()
        self._proven: dict[ObjectRef, Manifest] = {}
        """Each object's last form that every proxy accepted all of."""
        self._unproven: set[ObjectRef] = set()
        self.untaken: dict[ObjectRef, Exception] = {}
        """Objects that could not be taken in, and why: what there was of them before is used."""

    def apply(self, desired: DesiredState) -> tuple[set[ObjectRef], bool]:
        """Which objects are new, different or gone; and whether anything follows from it."""
        seen = self._selection.within(desired.manifests, desired.mesh_config)
        manifests = with_ingresses(seen, desired.mesh_config, self.desired.manifests)
        changes = find_changes(self.desired.manifests, manifests)
        self.desired = desired if manifests is desired.manifests else replace(desired, manifests=manifests)
        for ref in changes:
            self.untaken.pop(ref, None)
        try:
            moved = inputs.apply(self.graph, changes)
        except Exception:  # a bug, and it is to stay with the object that leads to it
            moved = self._apply_each(changes)
        moved |= inputs.apply_mesh_config(self.graph, desired.mesh_config)
        for ref, manifest in changes.items():
            if manifest is None:
                self._proven.pop(ref, None)
                self._unproven.discard(ref)
            else:
                self._unproven.add(ref)
        return set(changes), moved

    def _apply_each(self, changes: Mapping[ObjectRef, Manifest | None]) -> bool:
        moved = False
        for ref, manifest in changes.items():
            try:
                moved |= inputs.apply(self.graph, {ref: manifest})
            except Exception as error:
                self.untaken[ref] = error
        return moved

    def fault(self, proxy: Proxy) -> Exception | None:
        """Why what this proxy and its agent are told can't be computed."""
        try:
            self.resources(proxy)
            self.names(proxy)
        except Exception as error:
            return error
        return None

    def takes_traffic(self, proxy: Proxy) -> bool:
        """Its pod is ready, and does not leave; of a machine's proxy, any of its pods. Of a proxy whose pod nobody has
        told of it is taken to be so."""
        if proxy.type is ProxyType.NODE:
            return any(self.is_ready(ref) for ref in self.served_by(proxy))
        ref = POD.ref(proxy.namespace, proxy.name)
        return self.is_ready(ref) or (self.graph.get(workload, ref) is None and ref not in self.desired.manifests)

    def served_by(self, machine: Proxy) -> tuple[ObjectRef, ...]:
        """The pods of a machine that its one proxy serves."""
        return tuple(resident.ref for resident in self.graph.get(residents, machine.name))

    def machine_of(self, pod: ObjectRef) -> str:
        """The machine whose one proxy serves a pod; "" for one that has its own, or that is not known."""
        manifest = self.desired.manifests.get(pod)
        return machine_of(manifest.resource) if manifest and isinstance(manifest.resource, Pod) else ""

    def is_ready(self, pod: ObjectRef) -> bool:
        found = self.graph.get(workload, pod)
        return found is not None and found.ready

    def allocated(self, ref: ObjectRef) -> tuple[tuple[str, str], ...]:
        """(host, address) of a ServiceEntry's hosts that were given some."""
        manifest = self.desired.manifests.get(ref)
        hosts = sorted(hosts_without_address(manifest.resource)) if manifest is not None else ()
        return tuple((host, address) for host in hosts for address in given(self.graph, host))

    def is_of_a_pod(self, host: str) -> bool:
        """Whether an address is a pod's own, and not shared with the node."""
        return any(not pod.spec.host_network for pod in self.pods_at(host))

    def pods_at(self, host: str) -> Iterator[Pod]:
        """Those that have this address, without those that have ended."""
        for ref in self.graph.peek(inputs.ADDRESSED, host) or ():
            manifest = self.desired.manifests.get(ref)
            pod = manifest.resource if manifest is not None else None
            if isinstance(pod, Pod) and pod.status.phase not in ("Succeeded", "Failed"):
                yield pod

    def resources(self, proxy: Proxy) -> ResourceSet:
        return resource_set(self.graph, proxy)

    def owners(self, resource: Resource) -> tuple[ObjectRef, ...]:
        """The user's objects that a resource comes from."""
        return owners(self.graph, resource)

    def owners_with(self, ref: ObjectRef, proxy: Proxy, type_url: str, name: str) -> Set[ObjectRef]:
        """What a resource would come from if this object, which is excluded, were used as it was written."""
        self.readmit(ref)
        try:
            resource = self.resources(proxy).get(type_url, name)
            return frozenset() if resource is None else frozenset(self.owners(resource))
        except Exception:  # a bug, which is seen to where the object is used
            return frozenset()
        finally:
            self.exclude(ref)

    def names(self, proxy: Proxy) -> NameTable:
        return self.graph.get(name_table, scope_of(self.graph, proxy))

    def problems(self, now: float = 0.0) -> tuple[Problem, ...]:
        """What is wrong between objects. `now`: seconds since the epoch; at 0 nothing has expired."""
        found = (*self.graph.get(problems), *overdue(self.graph.get(expiries), now))
        unserved = unserved_ingresses(self.desired.manifests, self.desired.mesh_config)
        return (*map(self._about_ingress, found), *unserved, *self._selection.unseen())

    def _about_ingress(self, problem: Problem) -> Problem:
        """Of what was made of an Ingress, as one of that."""
        manifest = self.desired.manifests.get(problem.ref) if problem.ref is not None else None
        ingress = made_of(manifest) if manifest is not None else None
        return problem if ingress is None else replace(problem, ref=ingress, field="spec")

    @property
    def wanted_keys(self) -> tuple[KeySource, ...]:
        """Where keys of issuers are to be fetched."""
        return self.graph.get(wanted_keys)

    def supply(self, fetched: Mapping[KeySource, Keys | None]) -> bool:
        """What was fetched of them. True if anything follows from it."""
        moved = False
        for source, keys in fetched.items():
            moved |= apply_keys(self.graph, source, keys)
        return moved

    def key_host(self, host: str, port: int) -> KeyHost | None:
        """As the root namespace knows it; None for one outside of the mesh."""
        return self.graph.get(key_host, host, port, self.desired.mesh_config.root_namespace)

    def collect(self, proxies: Iterable[Proxy]) -> int:
        """Forget what none of these proxies needs."""
        connected = tuple(proxies)
        named: list[Origin] = [(name_table, (scope,)) for scope in {scope_of(self.graph, proxy) for proxy in connected}]
        needed = (root for proxy in connected for root in roots(self.graph, proxy))
        return self.graph.collect([(problems, ()), (expiries, ()), (wanted_keys, ()), *named, *needed])

    # What is known to work

    @property
    def is_proven(self) -> bool:
        """Every object's present form is known to work, or is excluded."""
        return not self._unproven

    def prove(self, but: Iterable[ObjectRef]) -> None:
        """Every proxy has accepted everything; `but` are the objects that are excluded."""
        proven = self._unproven.difference(but)
        self._proven.update((ref, self.desired.manifests[ref]) for ref in proven)
        self._unproven -= proven

    def unproven(self) -> dict[ObjectRef, int]:
        """Objects that changed since, and the revision in which they did."""
        tables = inputs.TABLES
        return {ref: self.graph.changed_at(tables[ref.kind], ref) for ref in self._unproven if ref.kind in tables}

    def exclude(self, ref: ObjectRef) -> None:
        """Use the last form that is known to work, or nothing, in the object's stead."""
        inputs.reject(self.graph, ref, self._proven.get(ref))

    def readmit(self, ref: ObjectRef) -> None:
        inputs.readmit(self.graph, ref)

    def last_good(self, ref: ObjectRef) -> Manifest | None:
        return self._proven.get(ref)

    def recall(self, manifest: Manifest) -> None:
        """An object's form that was known to work before discovery was restarted."""
        self._proven.setdefault(manifest.ref, manifest)
