"""A CronJob: a Job at each time that its schedule names.

Of several times that were missed (it was suspended, a run was not over) the last is made up for, within
`startingDeadlineSeconds`.
Source: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ and syncCronJob in Kubernetes'
pkg/controller/cronjob/cronjob_controllerv2.go
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from typing import Final

import msgspec

from pilotfish.config.kubernetes import Metadata, OwnerReference
from pilotfish.config.manifest import Manifest
from pilotfish.config.schedule import due_after, parse_time_zone
from pilotfish.config.workloads import CronJob, CronJobSpec, Job
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import CRON_JOB, JOB
from pilotfish.node.controllers import job
from pilotfish.node.controllers.values import (
    Action,
    Create,
    Delete,
    JobFacts,
    Make,
    Now,
    Rollout,
    Scene,
    Step,
    owner_reference,
)
from pilotfish.node.document import timestamp
from pilotfish.node.store import Stored

SCHEDULED: Final = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_LOOK: Final = 60.0
"""Seconds between looks at the clock at the most: it may be set, or have stood still while the machine slept."""
_RECENT: Final = 3600.0
"""Seconds in which the last missed time is looked for first."""


@dataclass(frozen=True, slots=True)
class CronJobState:
    schedule: tuple[str, str]
    """With its time zone."""
    last: float
    """Up to when, in seconds since the epoch, nothing is due any more."""
    scheduled: float | None = None
    """When a Job was last made for."""
    succeeded: float | None = None
    """When one was last complete."""


def reconcile(stored: Stored, state: CronJobState | None, scene: Scene) -> Step[CronJobState]:
    spec, now = _spec(stored), scene.now
    zone = parse_time_zone(spec.time_zone) or now.zone
    schedule = (spec.schedule, spec.time_zone)
    if state is None or state.schedule != schedule:
        scheduled, succeeded = (state.scheduled, state.succeeded) if state is not None else (None, None)
        state = CronJobState(schedule, now.wall, scheduled, succeeded)
    complete = [each.ended_at for each in scene.jobs if each.ended == "Complete" and each.ended_at is not None]
    state = replace(state, succeeded=max(complete, default=state.succeeded))
    actions: list[Action] = [*_forget(spec, scene.jobs)]
    active = [each for each in scene.jobs if not each.ended]
    due = None if spec.suspend else _missed(spec, state, now, zone)
    if due is not None and not (active and spec.concurrency_policy == "Forbid"):
        if spec.concurrency_policy == "Replace":
            actions += [Delete(each.ref) for each in active]
        actions.append(Make(job_of(stored, due)))
        state = replace(state, last=due, scheduled=due)
    following = next(due_after(spec.schedule, now.wall, zone), None)
    look = None if following is None or spec.suspend else min(now.until(following), now.loop + _LOOK)
    return Step(state, tuple(actions), look)


def status(stored: Stored, state: CronJobState | None, scene: Scene) -> dict[str, object]:
    active = [
        {"apiVersion": JOB.api_versions[0], "kind": JOB.name, "namespace": each.ref.namespace, "name": each.ref.name}
        for each in scene.jobs
        if not each.ended
    ]
    times = {
        "lastScheduleTime": state.scheduled if state is not None else None,
        "lastSuccessfulTime": state.succeeded if state is not None else None,
    }
    return {"active": active, **{name: timestamp(time) for name, time in times.items() if time is not None}}


def rollout(stored: Stored, state: CronJobState | None, scene: Scene) -> Rollout:
    """There is always a next time, and nothing to wait for."""
    return Rollout(f'cron job "{stored.ref.name}" makes a job when it is due', True)


def planned(stored: Stored) -> Iterable[Create]:
    """Those of any of its Jobs."""
    return () if _spec(stored).suspend else job.planned(replace(stored, manifest=job_of(stored, 0.0)))


def job_of(stored: Stored, due: float) -> Manifest:
    """The Job for a time."""
    template = _spec(stored).job_template
    ref = JOB.ref(stored.ref.namespace, f"{stored.ref.name}-{int(due) // 60}")
    annotations = {**template.metadata.annotations, SCHEDULED: timestamp(due)}
    owner = OwnerReference(kind=CRON_JOB.name, name=stored.ref.name, controller=True)
    metadata = msgspec.structs.replace(
        template.metadata,
        name=ref.name,
        namespace=ref.namespace,
        annotations=annotations,
        owner_references=(owner,),
    )
    written: dict[str, object] = {
        "name": ref.name,
        "namespace": ref.namespace,
        "labels": template.metadata.labels,
        "annotations": annotations,
        "ownerReferences": [owner_reference(stored)],
    }
    head = {"apiVersion": JOB.api_versions[0], "kind": JOB.name}
    document = {**head, "metadata": written, "spec": _written_spec(stored.manifest.document)}
    return Manifest(ref, Job(metadata=metadata, spec=template.spec), document, stored.manifest.source)


def scheduled_at(made: Stored) -> float:
    """For when a CronJob's Job was due, in seconds since the epoch."""
    said = made.manifest.resource.metadata.annotations.get(SCHEDULED, "")
    try:
        return datetime.fromisoformat(said).timestamp()
    except ValueError:  # somebody wrote it by hand
        return made.created_at


def maker_of(namespace: str, metadata: Metadata) -> ObjectRef | None:
    """The CronJob that a Job is of."""
    owners = (owner.name for owner in metadata.owner_references if owner.kind == CRON_JOB.name)
    return next((CRON_JOB.ref(namespace, name) for name in owners), None)


def _written_spec(document: Mapping[str, object]) -> object:
    found: object = document
    for name in ("spec", "jobTemplate", "spec"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found or {}


def _missed(spec: CronJobSpec, state: CronJobState, now: Now, zone: tzinfo) -> float | None:
    """The last time that was due and is not made up for; None if there is none, or it is too late."""
    earliest = state.last
    if spec.starting_deadline_seconds is not None:
        earliest = max(earliest, now.wall - spec.starting_deadline_seconds)
    for begin in dict.fromkeys((max(earliest, now.wall - _RECENT), earliest)):
        last = None
        for time in due_after(spec.schedule, begin, zone):
            if time > now.wall:
                break
            last = time
        if last is not None:
            return last
    return None


def _forget(spec: CronJobSpec, jobs: Sequence[JobFacts]) -> list[Delete]:
    """The oldest beyond what is kept."""
    found = []
    limits = (("Complete", spec.successful_jobs_history_limit), ("Failed", spec.failed_jobs_history_limit))
    for ended, limit in limits:
        over = sorted((each for each in jobs if each.ended == ended), key=lambda each: each.scheduled)
        found += [Delete(each.ref) for each in over[: max(len(over) - limit, 0)]]
    return found


def _spec(stored: Stored) -> CronJobSpec:
    resource = stored.manifest.resource
    if not isinstance(resource, CronJob):
        raise TypeError(f"{stored.ref} is no CronJob")
    return resource.spec
