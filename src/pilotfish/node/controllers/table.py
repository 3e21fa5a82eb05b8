"""Which controller is for which kind, and what any of them makes at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

from pilotfish.model import Kind
from pilotfish.model.kinds import CRON_JOB, DAEMON_SET, DEPLOYMENT, JOB, REPLICA_SET, STATEFUL_SET
from pilotfish.node.controllers import cron_job, daemon_set, deployment, job, replica_set, stateful_set
from pilotfish.node.controllers.values import Create, Rollout, Scene, Step
from pilotfish.node.store import Stored


class Controller(Protocol):
    """A kind's module. Its state is its own; None where it has none yet."""

    def reconcile(self, stored: Stored, state: Any, scene: Scene) -> Step[Any]: ...
    def status(self, stored: Stored, state: Any, scene: Scene) -> dict[str, object]: ...
    def rollout(self, stored: Stored, state: Any, scene: Scene) -> Rollout: ...
    def planned(self, stored: Stored) -> Iterable[Create]:
        """All the pods that come of it, where none is there yet."""
        ...


CONTROLLERS: Final[Mapping[Kind, Controller]] = MappingProxyType(
    {
        # Before Jobs: a Job that it makes is run in the same turn.
        CRON_JOB: cron_job,
        DEPLOYMENT: deployment,
        REPLICA_SET: replica_set,
        STATEFUL_SET: stateful_set,
        DAEMON_SET: daemon_set,
        JOB: job,
    }
)
"""In the order in which they are asked."""
