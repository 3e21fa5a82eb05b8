"""Protobuf's wire format, as far as putting already serialised messages together takes it.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations


def field(number: int, body: bytes) -> bytes:
    """A length-delimited field: how one already serialised message becomes part of another."""
    return field_head(number, len(body)) + body


def field_head(number: int, size: int) -> bytes:
    """What stands before a length-delimited field of `size` bytes: its tag and its length."""
    return _varint(number << 3 | 2) + _varint(size)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
