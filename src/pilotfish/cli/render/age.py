"""Spans of time as kubectl prints them: 5s, 2m10s, 3h, 5d4h.

Source: k8s.io/apimachinery/pkg/util/duration, HumanDuration.
"""

from __future__ import annotations

from datetime import UTC, datetime

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86400, 365 * 86400


def render_age(seconds: float) -> str:
    """Two units where the first alone would be coarse, one otherwise; a clock that runs behind gives 0s."""
    span = max(0, int(seconds))
    if span < 2 * _MINUTE:
        return f"{span}s"
    if span < 10 * _MINUTE:
        return _pair(span, _MINUTE, "m", 1, "s")
    if span < 3 * _HOUR:
        return f"{span // _MINUTE}m"
    if span < 8 * _HOUR:
        return _pair(span, _HOUR, "h", _MINUTE, "m")
    if span < 2 * _DAY:
        return f"{span // _HOUR}h"
    if span < 8 * _DAY:
        return _pair(span, _DAY, "d", _HOUR, "h")
    if span < 2 * _YEAR:
        return f"{span // _DAY}d"
    if span < 8 * _YEAR:
        return _pair(span, _YEAR, "y", _DAY, "d")
    return f"{span // _YEAR}y"


def parse_timestamp(text: object) -> float | None:
    """RFC 3339 as Kubernetes writes it (`2026-11-22T22:47:59Z`) → seconds since the epoch; None if it is none."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _pair(span: int, big: int, big_name: str, small: int, small_name: str) -> str:
    rest = span % big // small
    return f"{span // big}{big_name}" + (f"{rest}{small_name}" if rest else "")
