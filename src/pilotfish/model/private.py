"""Values that are used and never shown: a private key, and what could be compared with a guess of it.

To whoever prints, formats, logs, joins, encodes or writes them as JSON they are the text `[redacted]`. They compare and
hash as what they are, and `reveal` gives that to whoever sends it.
"""

from __future__ import annotations

from typing import Final, overload

REDACTED: Final = "[redacted]"
"""As Envoy's own config dump says it."""


class _Private:
    """What a private value is stays in `_real`; the value itself is `REDACTED`."""

    _real: object

    def __repr__(self) -> str:
        return REDACTED

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return self._real == (other._real if isinstance(other, _Private) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._real)


class PrivateStr(_Private, str):
    """A text that can't be read."""

    _real: str

    def __new__(cls, real: str) -> PrivateStr:
        made = super().__new__(cls, REDACTED)
        made._real = real
        return made


class PrivateBytes(_Private, bytes):
    """Bytes that can't be read."""

    _real: bytes

    def __new__(cls, real: bytes) -> PrivateBytes:
        made = super().__new__(cls, REDACTED.encode())
        made._real = real
        return made


@overload
def reveal(value: bytes) -> bytes: ...
@overload
def reveal(value: str) -> str: ...
def reveal(value: bytes | str) -> bytes | str:
    """What a private value is; any other value as it is."""
    return value._real if isinstance(value, (PrivateStr, PrivateBytes)) else value
