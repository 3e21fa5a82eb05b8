"""How much of the machine a container may take.

Source: https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/
"""

from __future__ import annotations

from dataclasses import dataclass

from pilotfish.config.kubernetes import Container


@dataclass(frozen=True, slots=True)
class Limits:
    cpu: float | None = None
    """Processors."""
    memory: int | None = None
    """Bytes."""

    def __bool__(self) -> bool:
        return self.cpu is not None or self.memory is not None


def build(container: Container) -> Limits:
    """A limit of 0 is none, as container runtimes have it."""
    limits = container.resources.limits
    cpu, memory = limits.get("cpu"), limits.get("memory")
    return Limits(
        cpu=float(cpu.amount) if cpu is not None and cpu.amount else None,
        memory=int(memory.amount) if memory is not None and memory.amount >= 1 else None,
    )
