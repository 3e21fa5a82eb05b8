"""Workloads that are no pods and register themselves: WorkloadEntries for the proxies that name a WorkloadGroup.

    node metadata AUTO_REGISTER_GROUP: reviews ─join─▶ Member ─register─▶ WorkloadEntry reviews-10.0.0.5

An entry lasts as long as its proxy is connected, and for a while after it left: it may be back soon.
Of a group with a probe, an entry takes no traffic before the workload's agent has said that it is healthy.
In a cluster, where several discoveries have to know of it, the entry is the API server's (`workload_entries`).
Source: https://istio.io/latest/docs/ops/deployment/vm-architecture/#workload-registration
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from pilotfish.config.istio import WorkloadEntry, WorkloadEntryCondition, WorkloadEntryStatus, WorkloadGroup
from pilotfish.config.kubernetes import Metadata
from pilotfish.config.manifest import Manifest
from pilotfish.model import ObjectRef, Problem, Proxy, Severity
from pilotfish.model.kinds import WORKLOAD_ENTRY, WORKLOAD_GROUP

GRACE: Final = 10.0
"""Seconds for which the entry of a proxy that left is kept, as Istio's."""
HEALTHY: Final = "Healthy"
"""The condition by which an entry takes traffic."""
GROUP: Final = "istio.io/autoRegistrationGroup"
"""The annotation that tells an entry which registered itself from one that somebody wrote."""
_CHECKED: Final = "proxy.istio.io/health-checks-enabled"


@dataclass(slots=True)
class Member:
    """A proxy that asks to be registered."""

    proxy: Proxy
    account: str = ""
    """As whom it has proven itself; "" where it has not."""
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
        group = group_of(manifests, member)
        if group is not None and member.entry not in manifests:
            entry = build_entry(member, group)
            found[member.entry] = Manifest(member.entry, entry, document_of(entry))
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


def unregistrable(manifests: Mapping[ObjectRef, Manifest], members: Iterable[Member]) -> tuple[Problem, ...]:
    """Of members that may not be written down in a cluster, where an entry is everybody's."""
    found = ((member, group_of(manifests, member)) for member in members)
    refused = {(member.group, str(member.proxy), why) for member, group in found if (why := refusal(member, group))}
    return tuple(
        Problem(group, "", "NotRegistered", f"the proxy {proxy} is not registered by it: {why}", Severity.WARNING)
        for group, proxy, why in sorted(refused)
    )


def refusal(member: Member, group: WorkloadGroup | None) -> str:
    """Why a proxy may not stand for one of this group, where who it is can be proven; "" if it may, or if there is no
    group."""
    if group is None:
        return ""
    if not member.proxy.vouched:
        return "it has not proven who it is; let it connect over TLS, with a token"
    wanted = group.spec.template.service_account
    if wanted and member.account != wanted:
        own = member.account or "nobody"
        return f"it has shown itself as {own}, and spec.template.serviceAccount is {wanted}; give it a token of that"
    return ""


def group_of(manifests: Mapping[ObjectRef, Manifest], member: Member) -> WorkloadGroup | None:
    manifest = manifests.get(member.group)
    return manifest.resource if manifest is not None and isinstance(manifest.resource, WorkloadGroup) else None


def build_entry(member: Member, group: WorkloadGroup) -> WorkloadEntry:
    spec = group.spec
    labels = {**spec.template.labels, **spec.metadata.labels, **member.proxy.labels}
    annotations = {**spec.metadata.annotations, GROUP: group.metadata.name}
    if spec.probe is not None:
        annotations[_CHECKED] = "true"
    healthy = WorkloadEntryCondition(type=HEALTHY, status=str(member.healthy))
    ref = member.entry
    return WorkloadEntry(
        metadata=Metadata(name=ref.name, namespace=ref.namespace, labels=labels, annotations=annotations),
        spec=msgspec.structs.replace(spec.template, address=member.proxy.addresses[0], labels=labels),
        status=WorkloadEntryStatus(conditions=(healthy,)),
    )


def document_of(entry: WorkloadEntry) -> dict[str, object]:
    head = {"apiVersion": WORKLOAD_ENTRY.api_versions[0], "kind": WORKLOAD_ENTRY.name}
    return {**head, **msgspec.to_builtins(entry)}
