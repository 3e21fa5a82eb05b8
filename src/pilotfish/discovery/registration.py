"""Workloads that are no pods and register themselves: WorkloadEntries for the proxies that name a WorkloadGroup.

    node metadata AUTO_REGISTER_GROUP: reviews ─join─▶ Member ─register─▶ WorkloadEntry reviews-10.0.0.5

An entry lasts as long as its proxy is connected, and for a while after it left: it may be back soon.
Of a group with a probe, an entry takes no traffic before the workload's agent has said that it is healthy.
In a cluster, where several discoveries would have to know of it, nobody is registered.
Source: https://istio.io/latest/docs/ops/deployment/vm-architecture/#workload-registration
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from pilotfish.config.istio import WorkloadEntry, WorkloadGroup
from pilotfish.config.istio.workload_entry import WorkloadEntryCondition, WorkloadEntryStatus
from pilotfish.config.kubernetes import Metadata
from pilotfish.config.manifest import Manifest
from pilotfish.model import ObjectRef, Problem, Proxy, Severity
from pilotfish.model.kinds import WORKLOAD_ENTRY, WORKLOAD_GROUP

GRACE: Final = 10.0
"""Seconds for which the entry of a proxy that left is kept, as Istio's."""
_CHECKED: Final = "proxy.istio.io/health-checks-enabled"
_GROUP: Final = "istio.io/autoRegistrationGroup"


@dataclass(slots=True)
class Member:
    """A proxy that asks to be registered."""

    proxy: Proxy
    healthy: bool = False
    """As its agent said last."""
    left_at: float | None = None

    @property
    def group(self) -> ObjectRef:
        return WORKLOAD_GROUP.ref(self.proxy.namespace, self.proxy.group)

    @property
    def entry(self) -> ObjectRef:
        address = self.proxy.addresses[0].replace(":", "-")
        return WORKLOAD_ENTRY.ref(self.proxy.namespace, f"{self.proxy.group}-{address}")


def register(manifests: Mapping[ObjectRef, Manifest], members: Iterable[Member]) -> dict[ObjectRef, Manifest]:
    """The WorkloadEntries of the members whose groups are there. What the user wrote goes before them."""
    found = {}
    for member in members:
        manifest = manifests.get(member.group)
        if manifest is not None and isinstance(manifest.resource, WorkloadGroup) and member.entry not in manifests:
            found[member.entry] = _entry(member, manifest.resource)
    return found


def unregistered(manifests: Mapping[ObjectRef, Manifest], members: Iterable[Member]) -> tuple[Problem, ...]:
    """Of members whose groups are not there."""
    missing = sorted({(member.group, str(member.proxy)) for member in members if member.group not in manifests})
    return tuple(
        Problem(
            None,
            "",
            "UnknownWorkloadGroup",
            f"the proxy {proxy} asks to be registered by {group}, which is not there, so that no service is sent to "
            f"it; add the WorkloadGroup, or correct AUTO_REGISTER_GROUP of its agent",
            Severity.WARNING,
        )
        for group, proxy in missing
    )


def unregistrable(members: Iterable[Member]) -> tuple[Problem, ...]:
    """Of all, in a cluster: each replica of discovery knows of its own proxies alone."""
    asking = sorted({(member.group, str(member.proxy), member.proxy.addresses[0]) for member in members})
    return tuple(
        Problem(
            group,
            "",
            "NotRegistered",
            f"the proxy {proxy} asks to be registered by it, which discovery does not do in a cluster, so that nobody "
            f"calls it; write a WorkloadEntry with its address, {address}",
            Severity.WARNING,
        )
        for group, proxy, address in asking
    )


def _entry(member: Member, group: WorkloadGroup) -> Manifest:
    spec = group.spec
    labels = {**spec.template.labels, **spec.metadata.labels, **member.proxy.labels}
    annotations = {**spec.metadata.annotations, _GROUP: group.metadata.name}
    if spec.probe is not None:
        annotations[_CHECKED] = "true"
    healthy = WorkloadEntryCondition(type="Healthy", status=str(member.healthy))
    ref = member.entry
    resource = WorkloadEntry(
        metadata=Metadata(name=ref.name, namespace=ref.namespace, labels=labels, annotations=annotations),
        spec=msgspec.structs.replace(spec.template, address=member.proxy.addresses[0], labels=labels),
        status=WorkloadEntryStatus(conditions=(healthy,)),
    )
    head = {"apiVersion": WORKLOAD_ENTRY.api_versions[0], "kind": WORKLOAD_ENTRY.name}
    return Manifest(ref, resource, {**head, **msgspec.to_builtins(resource)})
