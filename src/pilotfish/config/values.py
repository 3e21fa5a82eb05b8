"""Small values that stand in many kinds, parsed once, here."""

from __future__ import annotations

import re
from dataclasses import dataclass

_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_NANOS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A span of time, in whole nanoseconds, written as Go writes it: `1h30m`, `0.5s`, `100ms`."""

    nanos: int

    @property
    def seconds(self) -> float:
        return self.nanos / 1e9

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Raises ValueError for text that is no duration. Source: https://pkg.go.dev/time#ParseDuration"""
        if text == "0":
            return cls(0)
        sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
        parts = _PART.findall(digits)
        if not parts or "".join(n + u for n, u in parts) != digits:
            raise ValueError(f"{text!r} is not a duration such as 1h, 30s, 1.5s or 100ms")
        return cls(sign * round(sum(float(n) * _NANOS[u] for n, u in parts)))

    def __str__(self) -> str:
        return f"{self.nanos / 1e9:.9f}".rstrip("0").rstrip(".") + "s"


@dataclass(frozen=True, slots=True)
class IntOrString:
    """A port or a number of pods: a number, a port's name, or a percentage such as 25%."""

    value: int | str
