"""One container's states: waiting → starting → running → terminated, and again after a back-off.

Source: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from pilotfish.config.kubernetes import Container, Probe, ProbeKind
from pilotfish.node import probe as probing
from pilotfish.node.events import (
    Effect,
    Exited,
    Hooked,
    NoImage,
    NotStarted,
    Probed,
    RunHook,
    RunProbe,
    Signal,
    Start,
    Started,
)
from pilotfish.node.probe import ProbeState

Kind = Literal["init", "sidecar", "app"]
Policy = Literal["Always", "OnFailure", "Never"]

BACKOFF_FIRST = 10.0
BACKOFF_LAST = 300.0
BACKOFF_RESET = 600.0
"""Seconds of running after which a crash is a first one again."""
LATE = 2.0
"""Seconds that SIGTERM gets when preStop used up all of the grace period, as kubelet gives them."""
IMAGE_RETRY = 5.0
"""Seconds until an image that is not there is looked for again, as it may have been loaded. Pulls have a back-off."""
_START_ERROR = 128
_OUT_OF_MEMORY = "it took more memory than its limit"


@dataclass(frozen=True, slots=True)
class Stopping:
    step: Literal["hook", "term", "kill"]
    deadline: float
    asked: float
    """The deadline that was given; SIGTERM after a long preStop has a little longer."""


@dataclass(frozen=True, slots=True)
class ContainerState:
    spec: Container
    kind: Kind
    policy: Policy
    """What follows an exit; an init container's is never Always, a sidecar's always."""
    phase: Literal["waiting", "starting", "running", "terminated"] = "waiting"
    reason: str = ""
    message: str = ""
    run: int = 0
    pid: int | None = None
    started_at: float | None = None
    finished_at: float | None = None
    exit_code: int | None = None
    backoff: float = 0.0
    """Seconds that the next restart waits for."""
    restart_at: float | None = None
    """When it is started again, or its image looked for again."""
    blocked: bool = False
    hooked: bool = False
    """postStart is done, or there is none."""
    probes: Mapping[ProbeKind, ProbeState] = field(default_factory=dict)
    stopping: Stopping | None = None

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def started(self) -> bool:
        """It runs, its postStart is done and its startup probe has passed."""
        startup = self.probes.get("startup")
        return self.phase == "running" and self.hooked and (startup is None or startup.passed)

    @property
    def ready(self) -> bool:
        readiness = self.probes.get("readiness")
        return self.started and self.stopping is None and (readiness is None or readiness.passed)

    @property
    def over(self) -> bool:
        """It ended and is not started again."""
        return self.phase == "terminated" and self.restart_at is None

    @property
    def alive(self) -> bool:
        """There is, or soon may be, a process."""
        return self.phase in ("starting", "running")


def begin(spec: Container, kind: Kind, pod_policy: Policy) -> ContainerState:
    policy: Policy = "Always" if kind == "sidecar" else pod_policy
    if kind == "init" and pod_policy == "Always":
        policy = "OnFailure"
    return ContainerState(spec, kind, policy)


def specified(spec: Container) -> dict[ProbeKind, Probe]:
    every: tuple[tuple[ProbeKind, Probe | None], ...] = (
        ("startup", spec.startup_probe),
        ("liveness", spec.liveness_probe),
        ("readiness", spec.readiness_probe),
    )
    return {kind: probe for kind, probe in every if probe is not None}


News = Started | NotStarted | NoImage | Exited | Probed | Hooked


def handle(c: ContainerState, event: News, now: float) -> ContainerState:
    """The state after the event, which is this container's; news of an earlier run changes nothing."""
    if event.run != c.run:
        return c
    if isinstance(event, Started):
        hooked = c.spec.lifecycle is None or c.spec.lifecycle.post_start is None
        c = replace(c, phase="running", reason="", message="", pid=event.pid, started_at=now, hooked=hooked)
        return _begin_probes(c, now)
    if isinstance(event, NotStarted):
        return _not_started(c, event, now)
    if isinstance(event, NoImage):
        reason, message = event.reason, event.message
        return replace(c, phase="waiting", reason=reason, message=message, restart_at=now + IMAGE_RETRY)
    if isinstance(event, Exited):
        c = _exited(c, event.code, now)
        return replace(c, reason="OOMKilled", message=_OUT_OF_MEMORY) if event.out_of_memory and event.code else c
    if isinstance(event, Probed):
        return _probed(c, event, now)
    return _hooked(c, event, now)


def unblock(c: ContainerState) -> ContainerState:
    """What it lacked may be there now."""
    return replace(c, blocked=False, restart_at=None if c.phase == "waiting" else c.restart_at)


def stop(c: ContainerState, now: float, deadline: float) -> tuple[ContainerState, tuple[Effect, ...]]:
    """Begin to stop it: preStop, SIGTERM, and SIGKILL at `deadline`. A stop under way only becomes nearer."""
    if c.phase != "running":
        return c, ()
    if c.stopping is not None:
        if deadline < c.stopping.asked:
            c = replace(c, stopping=replace(c.stopping, deadline=deadline, asked=deadline))
        return c, ()
    if c.spec.lifecycle and c.spec.lifecycle.pre_stop and now < deadline:
        return replace(c, stopping=Stopping("hook", deadline, deadline)), (RunHook(c.name, c.run, "preStop", deadline),)
    return replace(c, stopping=Stopping("term", deadline, deadline)), (Signal(c.name, c.run, "TERM"),)


def advance(c: ContainerState, may_start: bool, grace: float, now: float) -> tuple[ContainerState, tuple[Effect, ...]]:
    """What is due at `now`; `grace` is the pod's, in seconds."""
    if c.stopping is not None and c.phase == "running":
        return _advance_stop(c, c.stopping, now)
    if c.phase == "running":
        return _advance_running(c, grace, now)
    due = c.restart_at is None or c.restart_at <= now
    restart = c.phase == "terminated" and c.restart_at is not None
    if may_start and due and not c.blocked and (restart or c.phase == "waiting"):
        run = c.run + restart
        return replace(c, phase="starting", run=run, restart_at=None, stopping=None), (Start(c.name, run),)
    return c, ()


def wake_at(c: ContainerState, may_start: bool) -> float | None:
    """When `advance` next has something to do, though nothing happens before."""
    times = []
    if c.phase == "running" and c.stopping is not None:
        times = [] if c.stopping.step == "kill" else [c.stopping.deadline]
    elif c.phase == "running":
        times = [c.probes[kind].due_at for kind in _active(c) if not c.probes[kind].running]
    elif c.restart_at is not None and may_start:
        times = [c.restart_at]
    return min(times, default=None)


def _active(c: ContainerState) -> tuple[ProbeKind, ...]:
    """The probes in force: the startup probe alone until it passes."""
    if not c.hooked:
        return ()
    startup = c.probes.get("startup")
    if startup is not None and not startup.passed:
        return ("startup",)
    return tuple(kind for kind in c.probes if kind != "startup")


def _begin_probes(c: ContainerState, now: float) -> ContainerState:
    return replace(c, probes={k: probing.begin(p, k, now) for k, p in specified(c.spec).items()})


def _advance_running(c: ContainerState, grace: float, now: float) -> tuple[ContainerState, tuple[Effect, ...]]:
    for kind in ("startup", "liveness"):
        state = c.probes.get(kind)
        if state is not None and state.failed:
            own = specified(c.spec)[kind].termination_grace_period_seconds
            c = replace(c, message=f"failed {kind} probe: {state.message}")
            return stop(c, now, now + (grace if own is None else own))
    due = [kind for kind in _active(c) if not c.probes[kind].running and c.probes[kind].due_at <= now]
    sent = {kind: probing.sent(c.probes[kind]) for kind in due}
    return replace(c, probes={**c.probes, **sent}), tuple(RunProbe(c.name, c.run, kind) for kind in due)


def _advance_stop(c: ContainerState, stopping: Stopping, now: float) -> tuple[ContainerState, tuple[Effect, ...]]:
    if stopping.step == "kill" or now < stopping.deadline:
        return c, ()
    if stopping.step == "hook":
        return replace(c, stopping=replace(stopping, step="term", deadline=now + LATE)), (
            Signal(c.name, c.run, "TERM"),
        )
    return replace(c, stopping=replace(stopping, step="kill")), (Signal(c.name, c.run, "KILL"),)


def _hooked(c: ContainerState, event: Hooked, now: float) -> ContainerState:
    if event.hook == "postStart":
        if event.ok:
            return _begin_probes(replace(c, hooked=True), now)
        # Kubernetes kills a container whose postStart failed; its restart policy then decides.
        return replace(c, message=f"postStart failed: {event.message}", stopping=Stopping("term", now, now))
    return c


def react(c: ContainerState, event: Started | Hooked) -> tuple[ContainerState, tuple[Effect, ...]]:
    """What follows at once: postStart when it was started; SIGTERM when preStop is done, whether it worked or not."""
    if event.run != c.run or c.phase != "running":
        return c, ()
    if isinstance(event, Started):
        return c, () if c.hooked else (RunHook(c.name, c.run, "postStart"),)
    if event.hook == "preStop" and c.stopping is not None and c.stopping.step == "hook":
        return replace(c, stopping=replace(c.stopping, step="term")), (Signal(c.name, c.run, "TERM"),)
    return c, ()


def _probed(c: ContainerState, event: Probed, now: float) -> ContainerState:
    state, probe = c.probes.get(event.kind), specified(c.spec).get(event.kind)
    if c.phase != "running" or state is None or probe is None:
        return c
    after = probing.result(probe, event.kind, state, event.ok, event.message, now)
    probes = {**c.probes, event.kind: after}
    if event.kind == "startup" and after.passed and not state.passed:
        rest = {k: probing.begin(p, k, now) for k, p in specified(c.spec).items() if k != "startup"}
        # Their initial delays count from the container's start, not from the startup probe's success.
        began = c.started_at if c.started_at is not None else now
        probes |= {k: replace(s, due_at=max(now, began + s.due_at - now)) for k, s in rest.items()}
    return replace(c, probes=probes)


def _not_started(c: ContainerState, event: NotStarted, now: float) -> ContainerState:
    if event.blocked:
        return replace(c, phase="waiting", reason=event.reason, message=event.message, blocked=True)
    c = replace(c, started_at=now)
    return replace(_exited(c, _START_ERROR, now), reason=event.reason, message=event.message)


def _exited(c: ContainerState, code: int, now: float) -> ContainerState:
    ran = now - c.started_at if c.started_at is not None else 0.0
    message = c.message if c.stopping is not None else ""
    c = replace(
        c,
        phase="terminated",
        reason="Completed" if code == 0 else "Error",
        message=message,
        pid=None,
        exit_code=code,
        finished_at=now,
        probes={},
        stopping=None,
    )
    if c.policy == "Never" or (c.policy == "OnFailure" and code == 0):
        return c
    return _back_off(c, ran, now)


def _back_off(c: ContainerState, ran: float, now: float) -> ContainerState:
    """The first restart is at once, then after 10 s, 20 s ... 5 min, as kubelet does it."""
    wait = 0.0 if ran >= BACKOFF_RESET else c.backoff
    following = min(max(wait * 2, BACKOFF_FIRST), BACKOFF_LAST)
    return replace(c, restart_at=now + wait, backoff=following)
