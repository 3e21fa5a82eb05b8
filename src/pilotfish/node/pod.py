"""A pod's life: told what happened and what time it is, it says what to do next.

    pending ─▶ building ─▶ running ─▶ withdrawing ─▶ draining ─▶ stopping ─▶ sidecars ─▶ proxy ─▶ removing ─▶ gone
                 sandbox     init, sidecars, apps       deleted: one deadline for all of it              finished

A pod whose containers have all ended goes from `sidecars` on, and stays as `finished` until it is deleted.
Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pilotfish.config.kubernetes import PodSpec
from pilotfish.model.wellknown import PROXY_CONTAINER
from pilotfish.node import container as containers
from pilotfish.node import events as ev
from pilotfish.node.container import ContainerState

Stage = Literal[
    "pending",
    "building",
    "running",
    "withdrawing",
    "draining",
    "stopping",
    "sidecars",
    "proxy",
    "removing",
    "finished",
    "gone",
]
Phase = Literal["Pending", "Running", "Succeeded", "Failed"]

_TOO_LONG = "Pod was active on the node longer than the specified deadline"
_SANDBOX_RETRY = (1.0, 30.0)


@dataclass(frozen=True, slots=True)
class PodState:
    spec: PodSpec
    captured: bool
    """It has a proxy."""
    stage: Stage = "pending"
    containers: tuple[ContainerState, ...] = ()
    """Init containers and sidecars in their order, then the apps."""
    proxy_ready: bool = False
    began_at: float | None = None
    """When its sandbox was first built."""
    ready_since: float | None = None
    was_ready: bool = False
    deadline: float | None = None
    """When everything must have stopped; set once the pod is deleted or finished."""
    deleted: bool = False
    drain: bool = True
    outcome: Literal["", "Succeeded", "Failed"] = ""
    message: str = ""
    """Why the sandbox could not be made, or what ended the pod."""
    retry_at: float | None = None
    retries: int = 0

    @property
    def ready(self) -> bool:
        return self.ready_since is not None

    @property
    def ends_at(self) -> float | None:
        """When it has run for too long."""
        longest = self.spec.active_deadline_seconds
        return None if longest is None or self.began_at is None else self.began_at + longest

    @property
    def init_done(self) -> bool:
        return all(_passed(c) for c in self.containers if c.kind != "app")

    @property
    def phase(self) -> Phase:
        if self.outcome:
            return self.outcome
        apps = [c for c in self.containers if c.kind == "app"]
        begun = all(c.started_at is not None or c.run for c in apps) and self.stage not in ("pending", "building")
        return "Running" if begun and self.init_done else "Pending"


def create(spec: PodSpec, captured: bool) -> PodState:
    """A gateway's container is its proxy, and no container of its own."""
    policy = spec.restart_policy
    init = tuple(
        containers.begin(c, "sidecar" if c.restart_policy == "Always" else "init", policy) for c in spec.init_containers
    )
    apps = tuple(containers.begin(c, "app", policy) for c in spec.containers if c.name != PROXY_CONTAINER)
    return PodState(spec, captured, containers=(*init, *apps))


def step(pod: PodState, event: ev.Event | None, now: float) -> tuple[PodState, tuple[ev.Effect, ...]]:
    """The pod after `event` (None: only time passed), and what to do now."""
    first: tuple[ev.Effect, ...] = ()
    if event is not None:
        pod, first = _handle(pod, event, now)
    effects = list(first)
    while True:
        pod, more = _advance(pod, now)
        effects += more
        if not more:
            return _judge_ready(pod, now), tuple(effects)


def wake_at(pod: PodState) -> float | None:
    """When `step` is next due though nothing happens; None if never."""
    times: list[float | None] = []
    if pod.stage == "pending":
        times.append(pod.retry_at)
    elif pod.stage in ("running", "withdrawing", "draining"):
        # Past that nothing is started again.
        times += [containers.wake_at(c, may_start=pod.stage == "running") for c in pod.containers]
        times += [pod.deadline, pod.ends_at if pod.stage == "running" else None]
    else:
        times += [containers.wake_at(c, may_start=False) for c in pod.containers if c.stopping is not None]
    return min((t for t in times if t is not None), default=None)


def _handle(pod: PodState, event: ev.Event, now: float) -> tuple[PodState, tuple[ev.Effect, ...]]:
    if isinstance(event, containers.News):
        return _handle_container(pod, event, now)
    if isinstance(event, ev.Deleted):
        return _delete(pod, event, now)
    if isinstance(event, ev.SandboxReady) and pod.stage == "building":
        return replace(pod, stage="running", proxy_ready=True, message="", retries=0), ()
    if isinstance(event, ev.SandboxFailed) and pod.stage == "building":
        first, last = _SANDBOX_RETRY
        wait = min(first * 2**pod.retries, last)
        return replace(pod, stage="pending", message=event.message, retry_at=now + wait, retries=pod.retries + 1), ()
    if isinstance(event, ev.ProxyReady):
        return replace(pod, proxy_ready=event.ready), ()
    if isinstance(event, ev.ConfigChanged):
        return replace(pod, containers=tuple(containers.unblock(c) for c in pod.containers)), ()
    return _next_stage(pod, event, now)


def _handle_container(pod: PodState, event: containers.News, now: float) -> tuple[PodState, tuple[ev.Effect, ...]]:
    effects: tuple[ev.Effect, ...] = ()
    changed = []
    for c in pod.containers:
        if c.name == event.container:
            c = containers.handle(c, event, now)
            if isinstance(event, ev.Started | ev.Hooked):
                c, effects = containers.react(c, event)
        changed.append(c)
    return replace(pod, containers=tuple(changed)), effects


def _delete(pod: PodState, event: ev.Deleted, now: float) -> tuple[PodState, tuple[ev.Effect, ...]]:
    """One deadline for everything; a second deletion can only bring it nearer."""
    deadline = now + event.grace
    if pod.deadline is not None:
        deadline = min(deadline, pod.deadline)
    first = not pod.deleted
    pod = replace(pod, deleted=True, deadline=deadline, drain=pod.drain and event.drain)
    if pod.stage == "finished":
        return replace(pod, stage="gone"), ()
    if pod.stage == "pending":
        return replace(pod, stage="removing"), (ev.Do("remove sandbox"),)
    if pod.stage in ("building", "running") and first:
        if pod.captured and pod.was_ready and pod.drain and event.grace > 0:
            return replace(pod, stage="withdrawing"), (ev.Do("withdraw", deadline),)
        return replace(pod, stage="stopping"), ()
    if pod.stage in ("withdrawing", "draining") and not pod.drain:
        return replace(pod, stage="stopping"), ()
    return pod, ()


def _next_stage(pod: PodState, event: ev.Event, now: float) -> tuple[PodState, tuple[ev.Effect, ...]]:
    if isinstance(event, ev.Withdrawn) and pod.stage == "withdrawing":
        return replace(pod, stage="draining"), (ev.Do("drain", pod.deadline),)
    if isinstance(event, ev.Drained) and pod.stage == "draining":
        return replace(pod, stage="stopping"), ()
    if isinstance(event, ev.ProxyStopped) and pod.stage == "proxy":
        return replace(pod, stage="removing"), (ev.Do("remove sandbox"),)
    if isinstance(event, ev.Removed) and pod.stage == "removing":
        return replace(pod, stage="gone" if pod.deleted else "finished"), ()
    return pod, ()


def _advance(pod: PodState, now: float) -> tuple[PodState, tuple[ev.Effect, ...]]:
    if pod.stage == "pending" and (pod.retry_at is None or pod.retry_at <= now):
        began_at = now if pod.began_at is None else pod.began_at
        return replace(pod, stage="building", began_at=began_at, retry_at=None), (ev.Do("build sandbox"),)
    if pod.stage == "running":
        return _advance_running(pod, now)
    if pod.stage in ("withdrawing", "draining"):
        if pod.deadline is not None and now >= pod.deadline:
            return _advance_stopping(replace(pod, stage="stopping"), now)
        return _advance_containers(pod, now, may_start=False)
    if pod.stage == "stopping":
        return _advance_stopping(pod, now)
    if pod.stage == "sidecars":
        return _advance_sidecars(pod, now)
    return pod, ()


def _advance_running(pod: PodState, now: float) -> tuple[PodState, tuple[ev.Effect, ...]]:
    outcome = _outcome(pod)
    if outcome:
        grace = pod.spec.termination_grace_period_seconds
        message = next((c.message for c in pod.containers if c.exit_code), "")
        pod = replace(pod, stage="sidecars", outcome=outcome, deadline=now + grace, message=message)
        return _advance_sidecars(pod, now)
    if pod.ends_at is not None and now >= pod.ends_at:
        deadline = now + pod.spec.termination_grace_period_seconds
        pod = replace(pod, stage="stopping", outcome="Failed", deadline=deadline, message=_TOO_LONG)
        return _advance_stopping(pod, now)
    return _advance_containers(pod, now, may_start=True)


def _advance_containers(pod: PodState, now: float, *, may_start: bool) -> tuple[PodState, tuple[ev.Effect, ...]]:
    """Each container, in order: an init container runs when all before it have passed, an app when all of them have."""
    grace = pod.spec.termination_grace_period_seconds
    effects: list[ev.Effect] = []
    changed = []
    reached = True
    for c in pod.containers:
        passed_once = c.kind == "init" and _passed(c)
        c, more = containers.advance(c, may_start and reached and not passed_once, grace, now)
        changed.append(c)
        effects += more
        if c.kind != "app":
            reached = reached and _passed(c)
    return replace(pod, containers=tuple(changed)), tuple(effects)


def _advance_stopping(pod: PodState, now: float) -> tuple[PodState, tuple[ev.Effect, ...]]:
    """Apps, and an init container that still runs, all at once."""
    pod, effects = _stop(pod, [c.name for c in pod.containers if c.kind != "sidecar"], now)
    if any(c.alive for c in pod.containers if c.kind != "sidecar"):
        return pod, effects
    pod, more = _advance_sidecars(replace(pod, stage="sidecars"), now)
    return pod, (*effects, *more)


def _advance_sidecars(pod: PodState, now: float) -> tuple[PodState, tuple[ev.Effect, ...]]:
    """Native sidecars one after the other, the last that was started first; then the proxy."""
    last = next((c for c in reversed(pod.containers) if c.kind == "sidecar" and c.alive), None)
    if last is None:
        return replace(pod, stage="proxy"), (ev.Do("stop proxy", pod.deadline),)
    return _stop(pod, [last.name], now)


def _stop(pod: PodState, names: list[str], now: float) -> tuple[PodState, tuple[ev.Effect, ...]]:
    deadline = pod.deadline if pod.deadline is not None else now
    effects: list[ev.Effect] = []
    changed = []
    for c in pod.containers:
        if c.name in names:
            c, begun = containers.stop(c, now, deadline)
            c, more = containers.advance(c, False, 0, now)
            effects += (*begun, *more)
        changed.append(c)
    return replace(pod, containers=tuple(changed)), tuple(effects)


def _passed(c: ContainerState) -> bool:
    """It no longer keeps those behind it from starting."""
    if c.kind == "init":
        return c.over and c.exit_code == 0
    return c.started or (c.kind == "sidecar" and c.run > 0 and c.exit_code is not None)


def _outcome(pod: PodState) -> Literal["", "Succeeded", "Failed"]:
    if any(c.kind == "init" and c.over and c.exit_code for c in pod.containers):
        return "Failed"
    apps = [c for c in pod.containers if c.kind == "app"]
    if not apps or not all(c.over for c in apps):
        return ""
    return "Failed" if any(c.exit_code for c in apps) else "Succeeded"


def _judge_ready(pod: PodState, now: float) -> PodState:
    """Ready: every app and sidecar is, and the proxy; an endpoint only while nothing has deleted the pod."""
    staying = [c for c in pod.containers if c.kind != "init"]
    ready = pod.stage == "running" and pod.init_done and all(c.ready for c in staying)
    ready = ready and (pod.proxy_ready or not pod.captured)
    if ready == pod.ready:
        return pod
    return replace(pod, ready_since=now if ready else None, was_ready=pod.was_ready or ready)
