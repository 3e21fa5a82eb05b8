"""What happened to pods, as Kubernetes' Events tell it: bounded, and alike ones counted.

    (identity, its event, the pod after it) ─happened─▶ Happening

Source: k8s.io/kubernetes/pkg/kubelet/events
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from pilotfish.model import ObjectRef
from pilotfish.node import events as ev
from pilotfish.node.identity import PodIdentity
from pilotfish.node.pod import PodState

_MOST = 1000
"""Of a mesh; the oldest are forgotten."""

Said = tuple[ObjectRef, Literal["Normal", "Warning"], str, str]
"""Whom it concerns, how bad it is, a word, and a sentence."""


@dataclass(frozen=True, slots=True)
class Happening:
    ref: ObjectRef
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    first: float
    """Seconds since the epoch, as `last` is."""
    last: float
    number: int
    """It tells this one from all others of the mesh."""
    count: int = 1


class History:
    def __init__(self) -> None:
        self._happenings: dict[Said, Happening] = {}
        self._known: set[ObjectRef] = set()
        self._number = 0

    @property
    def happenings(self) -> tuple[Happening, ...]:
        """The oldest first, by when they happened last."""
        return tuple(self._happenings.values())

    def note_pod(self, identity: PodIdentity, event: ev.Event | None, after: PodState, now: float) -> None:
        """A pod was told `event`, and is as in `after` since; the first of it is that it was made."""
        if identity.ref not in self._known:
            self._known.add(identity.ref)
            for said in _made(identity):
                self._note(said, now)
        if event is not None:
            for said in _describe(identity, event, after):
                self._note(said, now)
        if after.stage == "gone":
            self._known.discard(identity.ref)

    def _note(self, said: Said, now: float) -> None:
        self._number += 1
        old = self._happenings.pop(said, None)
        new = Happening(*said, now, now, self._number)
        self._happenings[said] = new if old is None else replace(old, last=now, count=old.count + 1)
        if len(self._happenings) > _MOST:
            del self._happenings[next(iter(self._happenings))]


def _made(identity: PodIdentity) -> Iterator[Said]:
    if identity.owner is not None:
        yield identity.owner, "Normal", "SuccessfulCreate", f"Created pod: {identity.name}"
    where = f"{identity.namespace}/{identity.name} to {identity.node_name}"
    yield identity.ref, "Normal", "Scheduled", f"Successfully assigned {where}"


def _describe(identity: PodIdentity, event: ev.Event, after: PodState) -> Iterator[Said]:
    ref = identity.ref
    match event:
        case ev.SandboxFailed():
            yield ref, "Warning", "FailedCreatePodSandBox", event.message
        case ev.Started():
            yield ref, "Normal", "Started", f"Started container {event.container}"
        case ev.NotStarted() | ev.NoImage():
            yield ref, "Warning", "Failed", f"Error: container {event.container}: {event.reason}: {event.message}"
        case ev.Exited():
            yield from _exited(ref, event, after)
        case ev.Probed(ok=False):
            what = f"{event.kind.capitalize()} probe of container {event.container} failed: {event.message}"
            yield ref, "Warning", "Unhealthy", what
        case ev.Hooked(ok=False):
            hook = "FailedPostStartHook" if event.hook == "postStart" else "FailedPreStopHook"
            yield ref, "Warning", hook, f"container {event.container}: {event.message}"
        case ev.Deleted():
            if identity.owner is not None:
                yield identity.owner, "Normal", "SuccessfulDelete", f"Deleted pod: {identity.name}"
            yield ref, "Normal", "Killing", f"Stopping {', '.join(c.name for c in after.containers) or 'the pod'}"


def _exited(ref: ObjectRef, event: ev.Exited, after: PodState) -> Iterator[Said]:
    container = next((c for c in after.containers if c.name == event.container), None)
    if container is None or after.deleted:
        return
    ended = f"ended with exit code {event.code}"
    if container.restart_at is not None:
        yield ref, "Warning", "BackOff", f"Back-off restarting container {event.container}, which {ended}"
    elif event.code:
        yield ref, "Warning", "Failed", f"container {event.container} {ended}"
