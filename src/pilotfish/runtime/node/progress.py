"""What `up` says while it works: one line for each thing that became another, and once that all is ready."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence

from pilotfish.model import ObjectRef, Problem
from pilotfish.node.store import Change
from pilotfish.runtime.node.options import OnProgress, ProgressLine
from pilotfish.runtime.node.pod import Pod

_log = logging.getLogger(__name__)
_LEVELS = {"error": logging.ERROR, "warning": logging.WARNING}
_FINE = ("ready", "gone", "completed")
_PATIENCE = 5.0
"""Seconds that proxies get to acknowledge everything, once all pods are ready, before that is said."""
_MOST = 5
"""Files that were saved together, and changes that follow, that are named."""


class Progress:
    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._pods: dict[ObjectRef, str] = {}
        self._said_ready = False
        self._patience: asyncio.TimerHandle | None = None

    def say(self, text: str, severity: str = "info", ready: bool = False) -> None:
        _log.log(_LEVELS.get(severity, logging.INFO), "%s", text)
        self._on_progress(ProgressLine(self._loop.time() - self._began, text, severity, ready))

    def problems(self, problems: Iterable[Problem]) -> None:
        for problem in problems:
            self.say(str(problem), problem.severity.value)

    def saved(self, files: Iterable[str], changes: Iterable[Change]) -> None:
        real = [f"{change.ref} {change.action}" for change in changes if change.is_real]
        if real:
            self.say(f"{_first(list(files))} saved: {_first(real)}")

    def pod(self, pod: Pod) -> None:
        """A pod's readiness and its troubles, each when it changes."""
        ref = pod.identity.ref
        now = _describe(pod)
        if now and self._pods.get(ref) != now:
            self._pods[ref] = now
            self.say(f"pod {ref.name}.{ref.namespace} {now}", "info" if now in _FINE else "warning")
        if pod.state.stage == "gone":
            self._pods.pop(ref, None)

    def readiness(self, settled: bool, synced: bool) -> None:
        """Says once that all is up: when it is, or when the pods are but proxies refuse or delay something."""
        if self._said_ready:
            return
        if not settled:
            self._cancel_patience()
        elif synced:
            self._say_ready("ready", "info")
        elif self._patience is None:
            why = "pods are ready, but not every proxy has acknowledged everything: see status"
            self._patience = self._loop.call_later(_PATIENCE, self._say_ready, why, "warning")

    def close(self) -> None:
        """Nothing becomes ready any more."""
        self._cancel_patience()
        self._said_ready = True

    def _say_ready(self, text: str, severity: str) -> None:
        self.close()
        self.say(text, severity, ready=True)

    def _cancel_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return f"{', '.join(names[:_MOST])}{more}"


def _describe(pod: Pod) -> str:
    state = pod.state
    if state.stage == "gone":
        return "gone"
    if state.deleted:
        return ""
    if state.ready:
        return "ready"
    if state.outcome:
        return "completed" if state.outcome == "Succeeded" else f"failed: {state.message or 'see its logs'}"
    troubles = (c for c in state.containers if c.reason not in ("", "Completed"))
    # That a pull which failed is tried again, and fails again, is no news.
    words = ((c, "ErrImagePull" if c.reason == "ImagePullBackOff" else c.reason) for c in troubles)
    return next((f"container {c.name}: {word} {c.message}".strip() for c, word in words), state.message)
