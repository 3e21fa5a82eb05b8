"""Small values that stand in many others, parsed once, here."""

from __future__ import annotations

import re
from functools import total_ordering
from typing import Generic, NoReturn, TypeVar

_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_LONGEST = 60
"""Characters of a duration: what is longer is none, and would be searched for long."""
_NANOS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


V = TypeVar("V")


@total_ordering
class Value(Generic[V]):
    """One frozen value. No dataclass, since msgspec reads those as objects and asks its hook for all others."""

    __slots__ = ("_value",)
    _value: V

    def __init__(self, value: V) -> None:
        object.__setattr__(self, "_value", value)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, Value) and bool(self._value == other._value)

    def __lt__(self, other: Value[V]) -> bool:
        return bool(self._value < other._value) if type(other) is type(self) else NotImplemented  # type: ignore[operator]

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._value!r})"


class Duration(Value[int]):
    """A span of time, in whole nanoseconds, written as Go writes it: `1h30m`, `0.5s`, `100ms`."""

    __slots__ = ()

    @property
    def nanos(self) -> int:
        return self._value

    @property
    def seconds(self) -> float:
        return self.nanos / 1e9

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Raises ValueError for text that is no duration. Source: https://pkg.go.dev/time#ParseDuration"""
        if text == "0":
            return cls(0)
        if len(text) > _LONGEST:
            raise ValueError(f"{text[:_LONGEST]!r}... is no duration such as 1h, 30s, 1.5s or 100ms")
        sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
        parts = _PART.findall(digits)
        if not parts or "".join(n + u for n, u in parts) != digits:
            raise ValueError(f"{text!r} is no duration such as 1h, 30s, 1.5s or 100ms")
        nanos = sum(float(n) * _NANOS[u] for n, u in parts)
        if nanos >= 2**63:
            raise ValueError(f"{text!r} is longer than the longest duration, 292 years")
        return cls(sign * round(nanos))

    def __str__(self) -> str:
        return f"{self.nanos / 1e9:.9f}".rstrip("0").rstrip(".") + "s"
