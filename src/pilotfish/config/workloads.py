"""The kinds that make pods, beside Deployments, and the storage that their pods claim.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, TypeVar

from msgspec.structs import replace

from pilotfish.config.kubernetes import Deployment, LabelSelector, Metadata, PodTemplate, Resource, Struct
from pilotfish.config.values import IntOrString
from pilotfish.model import Kind, ObjectRef, kinds

RevisionedUpdate = Literal["RollingUpdate", "OnDelete"]


class ReplicaSetSpec(Struct):
    selector: LabelSelector
    template: PodTemplate
    replicas: int = 1
    min_ready_seconds: int = 0


class ReplicaSet(Resource):
    kind = kinds.REPLICA_SET
    spec: ReplicaSetSpec


class PersistentVolumeClaimSpec(Struct):
    access_modes: tuple[str, ...] = ()
    """Changes nothing: there is one machine."""
    storage_class_name: str | None = None
    """It finds the PersistentVolumes of the same class, and nothing else."""
    volume_name: str = ""
    """The PersistentVolume that it is to have."""
    volume_mode: Literal["Filesystem", "Block"] = "Filesystem"
    """`Block` is refused: there are no block devices."""


class PersistentVolumeClaim(Resource):
    """A directory of the mesh's state, which is gone with the mesh; of the machine, if a PersistentVolume is for it."""

    kind = kinds.PERSISTENT_VOLUME_CLAIM
    spec: PersistentVolumeClaimSpec = PersistentVolumeClaimSpec()


class DirectorySource(Struct):
    path: str
    type: str = ""


class LocalSource(Struct):
    path: str


class ClaimReference(Struct):
    name: str
    namespace: str = ""


class PersistentVolumeSpec(Struct):
    host_path: DirectorySource | None = None
    local: LocalSource | None = None
    """One of the two. A volume of any other source is never bound, which is warned of."""
    storage_class_name: str = ""
    claim_ref: ClaimReference | None = None
    """The claim that it is kept for."""


class PersistentVolume(Resource):
    """Bound to one claim: that which it or which names it, else the first of its `storageClassName`."""

    kind = kinds.PERSISTENT_VOLUME
    spec: PersistentVolumeSpec


class ClaimTemplate(Struct):
    metadata: Metadata
    spec: PersistentVolumeClaimSpec = PersistentVolumeClaimSpec()


class RetentionPolicy(Struct):
    when_deleted: Literal["Retain", "Delete"] = "Retain"
    when_scaled: Literal["Retain", "Delete"] = "Retain"


class Ordinals(Struct):
    start: int = 0


class PartitionedUpdate(Struct):
    partition: int = 0
    """Pods of lower ordinals keep the template that they have."""
    max_unavailable: IntOrString = IntOrString(1)


class StatefulSetUpdate(Struct):
    type: RevisionedUpdate = "RollingUpdate"
    rolling_update: PartitionedUpdate = PartitionedUpdate()


class StatefulSetSpec(Struct):
    selector: LabelSelector
    template: PodTemplate
    service_name: str = ""
    """The headless Service in which its pods have names: NAME-0.SERVICE."""
    replicas: int = 1
    pod_management_policy: Literal["OrderedReady", "Parallel"] = "OrderedReady"
    update_strategy: StatefulSetUpdate = StatefulSetUpdate()
    volume_claim_templates: tuple[ClaimTemplate, ...] = ()
    persistent_volume_claim_retention_policy: RetentionPolicy = RetentionPolicy()
    min_ready_seconds: int = 0
    ordinals: Ordinals = Ordinals()


class StatefulSet(Resource):
    kind = kinds.STATEFUL_SET
    spec: StatefulSetSpec


class OnePodUpdate(Struct):
    max_unavailable: IntOrString = IntOrString(1)
    max_surge: IntOrString = IntOrString(0)
    """Above 0 the new pod is available before the old one goes; else it comes when the old one is gone."""


class DaemonSetUpdate(Struct):
    type: RevisionedUpdate = "RollingUpdate"
    rolling_update: OnePodUpdate = OnePodUpdate()


class DaemonSetSpec(Struct):
    """One pod, as there is one machine."""

    selector: LabelSelector
    template: PodTemplate
    update_strategy: DaemonSetUpdate = DaemonSetUpdate()
    min_ready_seconds: int = 0


class DaemonSet(Resource):
    kind = kinds.DAEMON_SET
    spec: DaemonSetSpec


class OnExitCodes(Struct):
    operator: Literal["In", "NotIn"]
    values: tuple[int, ...]
    container_name: str | None = None
    """None: every one that failed."""


class PodFailureRule(Struct):
    action: Literal["FailJob", "Ignore", "Count"]
    on_exit_codes: OnExitCodes | None = None
    on_pod_conditions: tuple[dict[str, str], ...] = ()
    """They never hold: no pod is evicted."""


class PodFailurePolicy(Struct):
    rules: tuple[PodFailureRule, ...] = ()
    """The first that fits decides."""


class JobSpec(Struct):
    template: PodTemplate
    parallelism: int = 1
    completions: int | None = None
    """None: one pod's success, after which no other is made."""
    completion_mode: Literal["NonIndexed", "Indexed"] = "NonIndexed"
    backoff_limit: int = 6
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None
    pod_failure_policy: PodFailurePolicy | None = None
    suspend: bool = False


class Job(Resource):
    kind = kinds.JOB
    spec: JobSpec


class JobTemplate(Struct):
    spec: JobSpec
    metadata: Metadata = Metadata()


class CronJobSpec(Struct):
    schedule: str
    """Five fields, or `@hourly`, `@daily` ..."""
    job_template: JobTemplate
    time_zone: str = ""
    """`Europe/Berlin`; else the machine's own."""
    concurrency_policy: Literal["Allow", "Forbid", "Replace"] = "Allow"
    starting_deadline_seconds: int | None = None
    successful_jobs_history_limit: int = 3
    failed_jobs_history_limit: int = 1
    suspend: bool = False


class CronJob(Resource):
    kind = kinds.CRON_JOB
    spec: CronJobSpec


def template_of(resource: Resource) -> PodTemplate | None:
    """What its pods are made from; None for what makes none."""
    match resource:
        case Deployment() | ReplicaSet() | StatefulSet() | DaemonSet() | Job():
            return resource.spec.template
        case CronJob():
            return resource.spec.job_template.spec.template
    return None


R = TypeVar("R", bound=Resource)


def with_template(resource: R, template: PodTemplate) -> R:
    """The same with another one."""
    match resource:
        case Deployment() | ReplicaSet() | StatefulSet() | DaemonSet() | Job():
            return replace(resource, spec=replace(resource.spec, template=template))
        case CronJob(spec=spec):
            job = replace(spec.job_template.spec, template=template)
            return replace(resource, spec=replace(spec, job_template=replace(spec.job_template, spec=job)))
    raise TypeError(f"a {resource.kind} has no template")


def owners_of(namespace: str, pod: Metadata) -> Iterator[ObjectRef]:
    """What its owner references may mean: a ReplicaSet's pod may be a Deployment's."""
    for owner in pod.owner_references:
        yield from (kind.ref(namespace, owner.name) for kind in kinds.MAKE_PODS if kind.name == owner.kind)
        if owner.kind == kinds.REPLICA_SET.name:
            yield kinds.DEPLOYMENT.ref(namespace, owner.name.rpartition("-")[0])


def template_path(kind: Kind) -> tuple[str, ...]:
    """The fields that lead to the template."""
    return ("spec", "jobTemplate", "spec", "template") if kind is kinds.CRON_JOB else ("spec", "template")


def pod_field(kind: Kind, field: str) -> str:
    """A field of a pod, as what makes the pod has it in its template."""
    return field if kind is kinds.POD else ".".join((*template_path(kind), field))


def written_template(kind: Kind, document: Mapping[str, object]) -> Mapping[str, object]:
    """The template as it was written, of the object's whole text."""
    found: object = document
    for name in template_path(kind):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}
