"""Which `envoy-revN.json` an Envoy starts from. Equal content keeps its number; another gets the next one."""

from __future__ import annotations

import re
from collections.abc import Iterable

_NAME = re.compile(r"envoy-rev([0-9]+)\.json")


def revision_name(revision: int) -> str:
    return f"envoy-rev{revision}.json"


def latest_revision(names: Iterable[str]) -> int | None:
    """The highest number among the file names of a directory; None if it holds no bootstrap."""
    return max((int(match[1]) for name in names if (match := _NAME.fullmatch(name))), default=None)


def choose_revision(latest: int | None, content: bytes | None, wanted: bytes) -> int:
    """The number for `wanted`, where revision `latest` holds `content` (None: it can't be read)."""
    if latest is None:
        return 0
    return latest if content == wanted else latest + 1
