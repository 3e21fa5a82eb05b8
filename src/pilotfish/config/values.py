"""Small values of the Kubernetes API that stand in many kinds."""

from __future__ import annotations

from base64 import b64decode

from pilotfish.model.values import Value


class IntOrString(Value[int | str]):
    """A port or a number of pods: a number, a port's name, or a percentage such as 25%."""

    __slots__ = ()

    @property
    def value(self) -> int | str:
        return self._value


def decode_base64(text: str) -> bytes:
    """Line breaks and spaces count for nothing, as in Kubernetes. Raises ValueError for what is not base64."""
    return b64decode("".join(text.split()), validate=True)


def parse_boolean(text: object) -> bool | None:
    """As Go's strconv.ParseBool; None for what is neither true nor false."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    return False if text in ("0", "f", "F", "false", "FALSE", "False") else None
