"""Small values of the Kubernetes API that stand in many kinds."""

from __future__ import annotations

from pilotfish.model.values import Value


class IntOrString(Value[int | str]):
    """A port or a number of pods: a number, a port's name, or a percentage such as 25%."""

    __slots__ = ()

    @property
    def value(self) -> int | str:
        return self._value
