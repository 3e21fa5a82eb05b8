"""Limits of containers, as far as this machine lets us hold them."""

from __future__ import annotations

import logging

from pilotfish.model import Problem, Severity
from pilotfish.node.limits import Limits
from pilotfish.runtime.linux.cgroups import ControlGroup, Hierarchies
from pilotfish.runtime.net.names import node_name

_log = logging.getLogger(__name__)


class Limiter:
    def __init__(self, mesh: str, hierarchies: Hierarchies | None = None) -> None:
        self.problem: Problem | None = None
        """Said once, whoever is concerned."""
        self._parent = node_name(mesh)
        self._hierarchies = hierarchies if hierarchies is not None else Hierarchies.find()

    def make(self, name: str, limits: Limits) -> ControlGroup | None:
        """None where there are no limits, or none can be held, which `problem` then says."""
        if not limits:
            return None
        try:
            return self._hierarchies.make(self._parent, name, limits.memory, limits.cpu)
        except OSError as error:
            _log.warning("limits of %s do not hold: %s", name, error)
            what = f"limits of memory and cpu do not hold here: {error}; let `up` write to /sys/fs/cgroup"
            self.problem = Problem(None, "", "LimitsNotEnforced", what, Severity.INFO)
            return None

    def close(self) -> None:
        self._hierarchies.remove(self._parent)


def sweep_limits(mesh: str) -> tuple[str, ...]:
    """Removes the control groups of a dead mesh; says so."""
    name = node_name(mesh)
    return (f"control group {name}",) if Hierarchies.find().remove(name) else ()
