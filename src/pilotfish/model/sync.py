"""Where a proxy stands with one type of what it should have."""

from __future__ import annotations

from enum import StrEnum


class Sync(StrEnum):
    SYNCED = "SYNCED"
    STALE = "STALE"
    """It has not acknowledged all."""
    NOT_SENT = "NOT SENT"
    """It has not asked."""
    REFUSED = "REFUSED"
