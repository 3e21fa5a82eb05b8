"""What the API server says when it does not do what it was asked.

Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import msgspec

from pilotfish.model.struct import Frozen

_USER: Final = re.compile(r'User "([^"]*)"')
_VERB: Final = re.compile(r"cannot (\w+) resource")
MOST_SAID: Final = 2_000
"""Characters of a message that are kept: a webhook may say anything."""


class _Details(Frozen):
    retry_after: int = msgspec.field(name="retryAfterSeconds", default=0)


class _Status(Frozen):
    kind: str = ""
    code: int = 0
    reason: str = ""
    message: str = ""
    details: _Details | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    code: int
    reason: str = ""
    """A word such as NotFound, AlreadyExists, Conflict, Invalid, Forbidden, Expired, TooManyRequests."""
    message: str = ""
    retry_after: float | None = None
    """Seconds, where it asks for a pause."""

    @property
    def verb(self) -> str:
        """What is forbidden, as roles call it: a version of Kubernetes may ask for another than is usual; "" where it
        is not said."""
        found = _VERB.search(self.message)
        return found[1] if found else ""

    @property
    def user(self) -> str:
        """Who is forbidden something; "" where it is not said."""
        found = _USER.search(self.message)
        return found[1] if found else ""


def read_refusal(code: int, body: bytes, retry_after: str = "") -> Refusal:
    """Of an answer of 400 or more, or of a watch's ERROR (`code` 0: the one inside). `retry_after`: the header."""
    try:
        found = msgspec.json.decode(body, type=_Status)
    except msgspec.DecodeError:
        found = _Status(message=" ".join(body[:MOST_SAID].decode(errors="replace").split()))
    pause: float | None = float(retry_after) if retry_after.isdecimal() and len(retry_after) < 9 else None
    if pause is None and found.details is not None and found.details.retry_after > 0:
        pause = float(found.details.retry_after)
    return Refusal(code or found.code, found.reason, found.message[:MOST_SAID], pause)
