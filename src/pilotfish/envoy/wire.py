"""Protobuf's wire format, as far as putting already serialised messages together, and small ones apart, takes it.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator

_WIDTHS = {1: 8, 5: 4}
"""Bytes of the wire types of fixed width."""


def field(number: int, body: bytes) -> bytes:
    """A length-delimited field: how one already serialised message becomes part of another."""
    return field_head(number, len(body)) + body


def field_head(number: int, size: int) -> bytes:
    """What stands before a length-delimited field of `size` bytes: its tag and its length."""
    return _varint(number << 3 | 2) + _varint(size)


def varint_field(number: int, value: int) -> bytes:
    """A field that is a number, 0 or more."""
    return _varint(number << 3) + _varint(value)


def read_fields(body: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(number, value) of each field in order: numbers as they are, all others as bytes. Raises ValueError."""
    at = 0
    while at < len(body):
        tag, at = _read_varint(body, at)
        kind, width = tag & 7, 0
        if kind == 0:
            value, at = _read_varint(body, at)
            yield tag >> 3, value
            continue
        if kind == 2:
            width, at = _read_varint(body, at)
        elif kind in _WIDTHS:
            width = _WIDTHS[kind]
        else:
            raise ValueError(f"wire type {kind} is none")
        if at + width > len(body):
            raise ValueError("a field ends after its message")
        yield tag >> 3, body[at : at + width]
        at += width


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    """(the number, where what follows it begins)."""
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(body):
            break
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number that does not end")
