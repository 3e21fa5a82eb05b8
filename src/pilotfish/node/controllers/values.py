"""What controllers are told and what they say, and how pods and their templates are named."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import tzinfo
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from pilotfish.config.kubernetes import PodTemplate
from pilotfish.config.manifest import Manifest
from pilotfish.config.values import IntOrString
from pilotfish.model import ObjectRef, Problem
from pilotfish.node.store import Stored

_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes' own for generated names: no vowels, so no words.
Source: k8s.io/apimachinery/pkg/util/rand"""
REVISION_LABEL: Final = "controller-revision-hash"
INDEX_ANNOTATION: Final = "batch.kubernetes.io/job-completion-index"

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Now:
    loop: float
    """Seconds on the clock by which pods became ready, which never leaps."""
    wall: float
    """Seconds since the epoch."""
    zone: tzinfo
    """The machine's own."""

    def since(self, loop: float) -> float:
        """When that was, in seconds since the epoch."""
        return self.wall - (self.loop - loop)

    def until(self, wall: float) -> float:
        """When that will be, on the loop's clock."""
        return self.loop + (wall - self.wall)


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What controllers need to know of a pod."""

    ref: ObjectRef
    hash: str
    """Of the template that it was made from; "" where its owner keeps no track of that."""
    ready_since: float | None
    """On the loop's clock; None while it is not ready."""
    created_at: float
    """Seconds since the epoch."""
    leaving: bool = False
    """It is being removed."""
    outcome: Literal["", "Succeeded", "Failed"] = ""
    exit_codes: tuple[tuple[str, int], ...] = ()
    """Of the containers that have ended with another than 0."""
    restarts: int = 0
    """Of all of its containers together."""
    index: int | None = None
    """Of an Indexed Job's pod."""

    @property
    def ordinal(self) -> int:
        """Of a StatefulSet's pod."""
        return int(self.ref.name.rpartition("-")[2])

    def available(self, min_ready_seconds: int, now: Now) -> bool:
        return self.ready_since is not None and self.ready_since + min_ready_seconds <= now.loop


@dataclass(frozen=True, slots=True)
class JobFacts:
    """What a CronJob needs to know of a Job of its own."""

    ref: ObjectRef
    scheduled: float
    """For when it was due; seconds since the epoch."""
    ended: Literal["", "Complete", "Failed"]
    ended_at: float | None = None


@dataclass(frozen=True, slots=True)
class Scene:
    pods: Sequence[PodFacts]
    now: Now
    jobs: Sequence[JobFacts] = ()

    @property
    def staying(self) -> tuple[PodFacts, ...]:
        return tuple(pod for pod in self.pods if not pod.leaving)


@dataclass(frozen=True, slots=True)
class Create:
    """A pod."""

    template: PodTemplate
    document: Mapping[str, object]
    """The template as it is written."""
    prefix: str
    """Of its name, which a dash and five letters follow."""
    name: str = ""
    """All of its name, in the place of such a one."""
    hash: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Beside the template's."""
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Remove:
    pod: ObjectRef


@dataclass(frozen=True, slots=True)
class Make:
    """An object, unless there is one of its name."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Delete:
    """An object."""

    ref: ObjectRef


Action = Create | Remove | Make | Delete


@dataclass(frozen=True, slots=True)
class Step(Generic[State]):
    state: State
    actions: tuple[Action, ...] = ()
    look: float | None = None
    """When to be asked again though nothing happens, on the loop's clock."""
    problems: tuple[Problem, ...] = ()
    """What the user should know."""


@dataclass(frozen=True, slots=True)
class Rollout:
    message: str
    """kubectl's words."""
    done: bool
    """Nothing is to come but by a change, or by a schedule."""
    failed: bool = False


def template_hash(template: PodTemplate, *more: object) -> str:
    """Of what the template says, however it is written: the label `pod-template-hash`, or a revision's."""
    encoded = msgspec.json.encode([template, *more] if more else template, enc_hook=repr, order="sorted")
    return safe_name(int.from_bytes(hashlib.sha256(encoded).digest()[:4]), 10)


def safe_name(number: int, length: int) -> str:
    """`number` in letters that make no words: the way a pod's name ends."""
    letters = []
    for _ in range(length):
        number, rest = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[rest])
    return "".join(letters).rstrip("b") or "b"


def pod_name(prefix: str, sequence: int) -> str:
    """`calculator-v1-5d4f8c7b9-x2k5q`; `sequence` is another one for each pod of the mesh."""
    digest = hashlib.sha256(f"{prefix}/{sequence}".encode()).digest()
    return f"{prefix}-{''.join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:5])}"


def count_share(value: IntOrString, of: int, *, up: bool) -> int:
    """A number of pods, or a percentage `of` so many, rounded up or down."""
    if isinstance(value.value, int):
        return max(value.value, 0)
    percent = value.value.removesuffix("%")
    if not percent.isdecimal():
        return 1
    share = int(percent) * of / 100
    return math.ceil(share) if up else math.floor(share)


def next_available(min_ready_seconds: int, pods: Iterable[PodFacts], now: Now) -> float | None:
    """When a ready pod becomes available, which no event tells; None if there is no such time."""
    times = [p.ready_since + min_ready_seconds for p in pods if p.ready_since is not None]
    return min((t for t in times if t > now.loop), default=None)


def least_useful(pod: PodFacts) -> tuple[bool, float]:
    """The order in which pods are taken away: those that are not ready first, then the youngest."""
    return pod.ready_since is not None, -pod.created_at


def with_spec(create: Create, changes: Mapping[str, Any], written: Mapping[str, object]) -> Create:
    """Its pod's `spec` with these fields of the struct, and the same as they are written."""
    spec = msgspec.structs.replace(create.template.spec, **changes)
    template = msgspec.structs.replace(create.template, spec=spec)
    old = create.document.get("spec")
    document = {**create.document, "spec": {**(old if isinstance(old, Mapping) else {}), **written}}
    return replace(create, template=template, document=document)


def owner_reference(stored: Stored) -> dict[str, object]:
    """What stands in the metadata of an object that is this one's."""
    kind = stored.ref.kind
    return {"apiVersion": kind.api_versions[0], "kind": kind.name, "name": stored.ref.name, "controller": True}


def condition(type: str, status: bool, reason: str = "", message: str = "") -> dict[str, object]:
    said = {"reason": reason, "message": message}
    return {"type": type, "status": str(status), **{key: text for key, text in said.items() if text}}
