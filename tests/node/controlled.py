"""A node for one object that makes pods: its controller, and pods that do what a test says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC
from typing import Any, Literal

from pilotfish.config import load
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.kinds import POD
from pilotfish.node.controllers.table import CONTROLLERS
from pilotfish.node.controllers.values import (
    INDEX_ANNOTATION,
    Create,
    Delete,
    JobFacts,
    Make,
    Now,
    PodFacts,
    Remove,
    Rollout,
    Scene,
)
from pilotfish.node.store import APPLIED, Stored

WALL = 1_700_000_000.0
"""Tue Nov 14 22:13:20 2023, UTC: when a test begins."""


def stored(text: str) -> Stored:
    loaded = load(text, "-")
    assert not loaded.broken, loaded.problems
    return Stored(loaded.manifests[0], APPLIED, WALL)


@dataclass
class Node:
    """One turn of its clock is one second."""

    object: Stored
    state: Any = None
    pods: dict[str, PodFacts] = field(default_factory=dict)
    made: dict[str, Create] = field(default_factory=dict)
    """Every pod that there ever was."""
    objects: list[ObjectRef] = field(default_factory=list)
    """That were made, but for pods."""
    deleted: list[ObjectRef] = field(default_factory=list)
    jobs: tuple[JobFacts, ...] = ()
    log: list[str] = field(default_factory=list)
    """`+NAME`, `-NAME`, in order."""
    problems: tuple[Problem, ...] = ()
    seconds: float = 0.0
    look: float | None = None
    lingering: bool = False
    """Pods that are removed stay until `bury`."""

    @property
    def now(self) -> Now:
        return Now(self.seconds, WALL + self.seconds, UTC)

    @property
    def scene(self) -> Scene:
        return Scene(tuple(self.pods.values()), self.now, self.jobs)

    def change(self, text: str) -> None:
        self.object = replace(self.object, manifest=load(text, "-").manifests[0])

    def step(self, seconds: float = 1) -> bool:
        """True if anything was done."""
        self.seconds += seconds
        step = CONTROLLERS[self.object.ref.kind].reconcile(self.object, self.state, self.scene)
        self.state, self.look, self.problems = step.state, step.look, step.problems
        for action in step.actions:
            match action:
                case Create():
                    self._create(action)
                case Remove(pod):
                    self._remove(pod.name)
                case Make(manifest):
                    self.objects.append(manifest.ref)
                case Delete(ref):
                    self.deleted.append(ref)
        return bool(step.actions)

    def settle(self) -> None:
        """With every pod ready as soon as it is there."""
        for _ in range(100):
            self.ready()
            if not self.step():
                return
        raise AssertionError("it never settles")

    def ready(self, *names: str, ready: bool = True) -> None:
        """Those, or all."""
        for name in names or self.pods:
            pod = self.pods[name]
            if not pod.leaving and not pod.outcome and (pod.ready_since is None or not ready):
                self.pods[name] = replace(pod, ready_since=self.seconds if ready else None)

    def end(self, name: str, code: int = 0) -> None:
        """Its only container ends."""
        outcome: Literal["Failed", "Succeeded"] = "Failed" if code else "Succeeded"
        codes = (("app", code),) if code else ()
        self.pods[name] = replace(self.pods[name], outcome=outcome, ready_since=None, exit_codes=codes)

    def bury(self) -> None:
        self.pods = {name: pod for name, pod in self.pods.items() if not pod.leaving}

    def names(self) -> set[str]:
        return set(self.pods)

    def status(self) -> dict[str, Any]:
        return CONTROLLERS[self.object.ref.kind].status(self.object, self.state, self.scene)

    def rollout(self) -> Rollout:
        return CONTROLLERS[self.object.ref.kind].rollout(self.object, self.state, self.scene)

    def planned(self) -> Iterable[Create]:
        return CONTROLLERS[self.object.ref.kind].planned(self.object)

    def _create(self, action: Create) -> None:
        name = action.name or f"{action.prefix}-{len(self.made)}"
        assert name not in self.pods, f"{name} is there"
        index = action.annotations.get(INDEX_ANNOTATION, "")
        ref = POD.ref("default", name)
        at = WALL + self.seconds + len(self.made) / 1000
        self.pods[name] = PodFacts(ref, action.hash, None, at, index=int(index) if index else None)
        self.made[name] = action
        self.log.append(f"+{name}")

    def _remove(self, name: str) -> None:
        self.log.append(f"-{name}")
        self.pods[name] = replace(self.pods[name], leaving=True, ready_since=None)
        if not self.lingering:
            self.bury()
