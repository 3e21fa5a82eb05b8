"""A Job: pods that run to their end, and again while they fail, until enough have succeeded.

Its pods stay when they have ended, with their logs, until the Job goes. A Job whose template is changed, which
Kubernetes refuses, is run anew.
Source: https://kubernetes.io/docs/concepts/workloads/controllers/job/
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, Literal

from pilotfish.config.workloads import Job, JobSpec, OnExitCodes, PodFailurePolicy, written_template
from pilotfish.model import ObjectRef, Problem, Severity
from pilotfish.node.controllers.indexed import with_index
from pilotfish.node.controllers.values import (
    Action,
    Create,
    Delete,
    PodFacts,
    Remove,
    Rollout,
    Scene,
    Step,
    condition,
    least_useful,
    template_hash,
)
from pilotfish.node.document import timestamp
from pilotfish.node.store import Stored

_BACKOFF: Final = (10.0, 360.0)
"""Seconds until a pod follows one that failed: the first time, and the longest."""
_NAME_LABELS: Final = ("batch.kubernetes.io/job-name", "job-name")


@dataclass(frozen=True, slots=True)
class End:
    type: Literal["Complete", "Failed"]
    at: float
    """Seconds since the epoch."""
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class JobState:
    hash: str
    """Of the template that it runs."""
    started: float | None
    """Seconds since the epoch; None while it is suspended."""
    counted: frozenset[ObjectRef] = frozenset()
    """The pods whose end has been taken note of."""
    removed: frozenset[ObjectRef] = frozenset()
    """Those that were taken away before their end."""
    succeeded: int = 0
    failed: int = 0
    indexes: frozenset[int] = frozenset()
    """That are completed."""
    failures: int = 0
    """In a row, which the next pod waits for."""
    failed_at: float = 0.0
    """When the last of them was, on the loop's clock."""
    charged: int = 0
    """What counts towards `backoffLimit`."""
    end: End | None = None


def reconcile(stored: Stored, state: JobState | None, scene: Scene) -> Step[JobState]:
    spec, now = _spec(stored), scene.now
    revision = template_hash(spec.template)
    mine = [pod for pod in scene.pods if pod.hash == revision]
    actions: list[Action] = [Remove(pod.ref) for pod in scene.staying if pod.hash != revision]
    if state is None or state.hash != revision:
        # What there is already is another Job's, of its name.
        state = JobState(revision, None, counted=frozenset(pod.ref for pod in scene.pods))
    if not spec.suspend and state.started is None and state.end is None:
        state = replace(state, started=now.wall)
    if state.end is None:
        state = _count(spec, state, mine, now.loop)
        state = replace(state, end=_ended(spec, state, mine, now.wall))
    active = _active(mine)
    if state.end is not None:
        actions += _remove(active)
        due = None if spec.ttl_seconds_after_finished is None else state.end.at + spec.ttl_seconds_after_finished
        if due is not None and due <= now.wall:
            return Step(state, (Delete(stored.ref),))
        look = None if due is None else now.until(due)
        return Step(_note(state, actions), tuple(actions), look, _describe(stored, state.end))
    if spec.suspend:
        actions += _remove(active)
        return Step(_note(replace(state, started=None), actions), tuple(actions))
    surplus = len(active) - _wanted(spec, state, active)
    actions += _remove(sorted(active, key=least_useful)[: max(surplus, 0)])
    again = _again(state)
    if surplus < 0 and again <= now.loop and len(active) == len([pod for pod in mine if _is_active(pod, leaving=True)]):
        actions += _create(stored, state, active, -surplus)
    looks = [again] if surplus < 0 and again > now.loop else []
    if spec.active_deadline_seconds is not None and state.started is not None:
        looks.append(now.until(state.started + spec.active_deadline_seconds))
    return Step(_note(state, actions), tuple(actions), min(looks, default=None))


def status(stored: Stored, state: JobState | None, scene: Scene) -> dict[str, object]:
    spec = _spec(stored)
    active = _active(scene.pods)
    found: dict[str, object] = {
        "active": len(active),
        "ready": sum(pod.ready_since is not None for pod in active),
        "terminating": sum(_is_active(pod, leaving=True) and pod.leaving for pod in scene.pods),
        "succeeded": state.succeeded if state is not None else 0,
        "failed": state.failed if state is not None else 0,
    }
    if state is None:
        return found
    if state.started is not None:
        found["startTime"] = timestamp(state.started)
    if spec.completion_mode == "Indexed":
        found["completedIndexes"] = _ranges(state.indexes)
    if state.end is not None:
        said = condition(state.end.type, True, state.end.reason, state.end.message)
        found["conditions"] = [{**said, "lastTransitionTime": timestamp(state.end.at)}]
        if state.end.type == "Complete":
            found["completionTime"] = timestamp(state.end.at)
    elif spec.suspend:
        found["conditions"] = [condition("Suspended", True, "JobSuspended", "Job suspended")]
    return found


def rollout(stored: Stored, state: JobState | None, scene: Scene) -> Rollout:
    """Done when it has ended, and as soon as all that it runs at once does run."""
    spec, name = _spec(stored), stored.ref.name
    if state is not None and state.end is not None:
        return Rollout(f'job "{name}" is {state.end.type.lower()}', True, state.end.type == "Failed")
    active = _active(scene.pods)
    running = sum(pod.ready_since is not None for pod in active)
    done = spec.suspend or (state is not None and running >= _wanted(spec, state, active))
    return Rollout(f'job "{name}" runs {running} pods', done)


def ended(state: JobState | None) -> End | None:
    return state.end if state is not None else None


def planned(stored: Stored) -> Iterable[Create]:
    """Those that run at once."""
    spec, state = _spec(stored), JobState(template_hash(_spec(stored).template), None)
    return () if spec.suspend else _create(stored, state, (), _wanted(spec, state, ()))


def _count(spec: JobSpec, state: JobState, pods: Iterable[PodFacts], now: float) -> JobState:
    """With the pods that have come to an end since. Who takes a running pod away has it fail, as in Kubernetes."""
    for pod in pods:
        outcome = pod.outcome or ("Failed" if pod.leaving and pod.ref not in state.removed else "")
        if not outcome or pod.ref in state.counted:
            continue
        state = replace(state, counted=state.counted | {pod.ref})
        if outcome == "Succeeded":
            indexes = state.indexes if pod.index is None else state.indexes | {pod.index}
            new = pod.index is None or pod.index not in state.indexes
            state = replace(state, succeeded=state.succeeded + new, indexes=indexes, failures=0)
            continue
        action, message = _judge(spec.pod_failure_policy, pod)
        charged = state.charged + (action != "Ignore")
        state = replace(state, failed=state.failed + 1, failures=state.failures + 1, failed_at=now, charged=charged)
        if action == "FailJob" and state.end is None:
            state = replace(state, end=End("Failed", 0.0, "PodFailurePolicy", message))
    return state


def _ended(spec: JobSpec, state: JobState, pods: Iterable[PodFacts], now: float) -> End | None:
    if state.end is not None:
        return replace(state.end, at=now)
    again = sum(pod.restarts for pod in pods if _is_active(pod, leaving=True))
    # What the kubelet has started again counts as well; 0 allows none at all.
    if state.charged > spec.backoff_limit or (again > 0 and again >= max(spec.backoff_limit, 1)):
        return End("Failed", now, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    deadline = spec.active_deadline_seconds
    if deadline is not None and state.started is not None and now - state.started >= deadline:
        return End("Failed", now, "DeadlineExceeded", "Job was active longer than specified deadline")
    if spec.completions is None:
        complete = state.succeeded > 0 and not any(_is_active(pod, leaving=True) for pod in pods)
    else:
        complete = state.succeeded >= spec.completions and not spec.suspend
    return End("Complete", now, "CompletionsReached", "Reached expected number of succeeded pods") if complete else None


def _describe(stored: Stored, end: End) -> tuple[Problem, ...]:
    if end.type != "Failed":
        return ()
    message = (
        f"it has failed ({end.reason}): {end.message}; 'pilotfish logs job/{stored.ref.name}' shows its last pod's"
    )
    return (Problem(stored.ref, "", "JobFailed", message, Severity.WARNING, stored.manifest.source),)


def _judge(policy: PodFailurePolicy | None, pod: PodFacts) -> tuple[str, str]:
    """(the action of the first rule that fits, what led to it)."""
    for index, rule in enumerate(policy.rules if policy is not None else ()):
        found = _fitting(rule.on_exit_codes, pod) if rule.on_exit_codes is not None else None
        if found is not None:
            container, code = found
            said = f"Container {container} for pod {pod.ref.namespace}/{pod.ref.name} failed with exit code {code}"
            return rule.action, f"{said} matching {rule.action} rule at index {index}"
    return "Count", ""


def _fitting(codes: OnExitCodes, pod: PodFacts) -> tuple[str, int] | None:
    named = (each for each in pod.exit_codes if codes.container_name in (None, each[0]))
    return next((each for each in named if (each[1] in codes.values) == (codes.operator == "In")), None)


def _wanted(spec: JobSpec, state: JobState, active: Iterable[PodFacts]) -> int:
    """How many pods are to run at once."""
    if spec.completions is None:
        running = sum(1 for _ in active)
        return min(spec.parallelism, running) if state.succeeded else spec.parallelism
    return min(spec.parallelism, max(spec.completions - state.succeeded, 0))


def _again(state: JobState) -> float:
    """From when on a pod may be made."""
    first, longest = _BACKOFF
    return state.failed_at + min(first * 2 ** (state.failures - 1), longest) if state.failures else 0.0


def _create(stored: Stored, state: JobState, active: Iterable[PodFacts], number: int) -> list[Create]:
    spec, name = _spec(stored), stored.ref.name
    labels = dict.fromkeys(_NAME_LABELS, name)
    create = Create(
        spec.template, written_template(stored.ref.kind, stored.manifest.document), name, hash=state.hash, labels=labels
    )
    if spec.completion_mode == "NonIndexed":
        return [create] * number
    taken = state.indexes | {pod.index for pod in active}
    free = (index for index in range(spec.completions or 0) if index not in taken)
    return [with_index(create, index) for index in islice(free, number)]


def _active(pods: Iterable[PodFacts]) -> list[PodFacts]:
    return [pod for pod in pods if _is_active(pod)]


def _is_active(pod: PodFacts, *, leaving: bool = False) -> bool:
    """`leaving`: also while it is being taken away."""
    return not pod.outcome and (leaving or not pod.leaving)


def _remove(pods: Iterable[PodFacts]) -> list[Remove]:
    return [Remove(pod.ref) for pod in pods]


def _note(state: JobState, actions: Iterable[Action]) -> JobState:
    return replace(state, removed=state.removed | {each.pod for each in actions if isinstance(each, Remove)})


def _ranges(indexes: Iterable[int]) -> str:
    """`0-2,5,6`, as Kubernetes writes them: three or more in a row by the first and the last."""
    found: list[list[int]] = []
    for index in sorted(indexes):
        if found and found[-1][-1] == index - 1:
            found[-1][1:] = [index]
        else:
            found.append([index])
    return ",".join(("," if each[-1] == each[0] + 1 else "-").join(map(str, each)) for each in found)


def _spec(stored: Stored) -> JobSpec:
    resource = stored.manifest.resource
    if not isinstance(resource, Job):
        raise TypeError(f"{stored.ref} is no Job")
    return resource.spec
