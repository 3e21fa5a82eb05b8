"""gRPC's messages within a stream: a byte that says whether it is compressed, its length, and the message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

LARGEST: Final = 1 << 20
"""Bytes of a message."""


class FramingError(ValueError):
    """What came is no gRPC."""


def frame(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


class Messages:
    """Of one direction of one stream."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def receive(self, data: bytes) -> Iterator[bytes]:
        """The messages that are complete now. Raises FramingError."""
        self._buffer += data
        while len(self._buffer) >= 5:
            size = int.from_bytes(self._buffer[1:5], "big")
            if self._buffer[0] or size > LARGEST:
                raise FramingError("a compressed message" if self._buffer[0] else f"a message of {size} bytes")
            if len(self._buffer) < 5 + size:
                return
            message, self._buffer = self._buffer[5 : 5 + size], self._buffer[5 + size :]
            yield message
