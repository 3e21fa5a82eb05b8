"""Small values of the Kubernetes API that stand in many kinds."""

from __future__ import annotations

import re
from base64 import b64decode
from decimal import Decimal

from pilotfish.model.values import Value


class IntOrString(Value[int | str]):
    """A port or a number of pods: a number, a port's name, or a percentage such as 25%."""

    __slots__ = ()

    @property
    def value(self) -> int | str:
        return self._value


class Quantity(Value[Decimal]):
    """An amount of a resource: `500m` of a processor, `128Mi` of memory.

    Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
    """

    __slots__ = ()

    @property
    def amount(self) -> Decimal:
        """In processors, or bytes."""
        return self._value

    @classmethod
    def parse(cls, text: str) -> Quantity:
        """Raises ValueError for text that is no quantity."""
        found = _QUANTITY.fullmatch(text)
        if found is None:
            raise ValueError(f"{text[:_LONGEST]!r} is no quantity such as 500m, 2, 128Mi or 1.5Gi")
        number, unit, exponent = found.groups()
        return cls(Decimal(number + (exponent or "")) * _UNITS[unit or ""])


_LONGEST = 60
_QUANTITY = re.compile(
    r"([0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:([numkMGTPE]|[KMGTPE]i)|([eE][-+]?[0-9]{1,2}))?"
)
_UNITS = {
    "": Decimal(1),
    **{unit: Decimal(10) ** (3 * power) for power, unit in zip((-3, -2, -1, *range(1, 7)), "numkMGTPE", strict=True)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)},
}


def decode_base64(text: str) -> bytes:
    """Line breaks and spaces count for nothing, as in Kubernetes. Raises ValueError for what is not base64."""
    return b64decode("".join(text.split()), validate=True)


def parse_boolean(text: object) -> bool | None:
    """As Go's strconv.ParseBool; None for what is neither true nor false."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    return False if text in ("0", "f", "F", "false", "FALSE", "False") else None
