"""Values that are used and never shown: a private key, and what could be compared with a guess of it.

`str`, `repr`, `format`, `%`, `print`, logging and msgspec (with `enc_hook=str`; without, it refuses) show `[redacted]`.
Joining, encoding, slicing, comparing and hashing see the real value, as whoever sends it must.
"""

from __future__ import annotations

from typing import Final

REDACTED: Final = "[redacted]"
"""As Envoy's own config dump says it."""


class PrivateBytes(bytes):
    __slots__ = ()

    def __repr__(self) -> str:
        return REDACTED

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        return REDACTED


class PrivateStr(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return REDACTED

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        return REDACTED
