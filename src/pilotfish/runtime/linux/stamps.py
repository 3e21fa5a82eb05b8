"""When what stands where in a log was written: a file beside it. Whoever writes and whoever reads it agree here."""

from __future__ import annotations

import struct
from pathlib import Path

STAMP = struct.Struct("<Qd")
"""An offset, and when what begins there was written, in seconds since the epoch."""


def times_path(log: Path) -> Path:
    """`NAME.log.1` → `NAME.times.1`."""
    name, _, number = log.name.partition(".log")
    return log.with_name(f"{name}.times{number}")
