"""When a CronJob is due.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_NAMED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "@yearly": "0 0 1 1 *",
        "@annually": "0 0 1 1 *",
        "@monthly": "0 0 1 * *",
        "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *",
        "@midnight": "0 0 * * *",
        "@hourly": "0 * * * *",
    }
)
_FIELDS: Final = 5


def parse_schedule(text: str) -> str:
    """In five fields. Raises ValueError where it is no schedule, or says a time that never comes."""
    found = _NAMED.get(text.strip(), text).replace("?", "*")
    fields = found.split()
    if len(fields) != _FIELDS:
        raise ValueError(f"it has {len(fields)} fields, not {_FIELDS}")
    try:
        next(CronSim(found, datetime(2024, 1, 1, tzinfo=UTC)), None)
    except CronSimError as error:
        raise ValueError(str(error)) from error
    return " ".join(fields)


def parse_time_zone(name: str) -> tzinfo | None:
    """None for "": the machine's own. ValueError where there is no such zone."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (OSError, LookupError) as error:  # a folder of zones is no zone
        raise ValueError(str(error)) from error


def due_after(schedule: str, time: float, zone: tzinfo) -> Iterator[float]:
    """When it is due, in order; seconds since the epoch, later than `time`. It may never be."""
    # What is due in this very minute is among them, if `time` is not.
    return (each.timestamp() for each in CronSim(parse_schedule(schedule), datetime.fromtimestamp(time, zone)))
