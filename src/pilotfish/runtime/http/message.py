"""A request and its answer as bytes. Who asks ends the connection with the answer, so that nothing is kept between two.

Source: RFC 9112
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

T = TypeVar("T")
_END: Final = b"\r\n"
_HEAD_END: Final = b"\r\n\r\n"
_LONGEST_SIZE: Final = 100
"""Bytes of the line that begins a chunk."""


class AnswerError(ConnectionError):
    """What came is no answer: cut off, too long, or not what was asked for."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str
    """Path and query."""
    body: bytes = b""
    fields: Mapping[str, str] = field(default_factory=lambda: {"host": "localhost"})

    def __bytes__(self) -> bytes:
        own = {**self.fields, "connection": "close", "content-length": str(len(self.body))}
        lines = (f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in own.items()))
        return "\r\n".join((*lines, "", "")).encode() + self.body


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    fields: Mapping[str, str] = field(default_factory=dict, compare=False)
    """By their names in lower case."""

    def read(self, shape: type[T]) -> T:
        """The value that the JSON of a 200 holds. Raises AnswerError for any other answer."""
        if self.status != 200:
            raise AnswerError(f"status {self.status}: {self.excerpt}")
        try:
            return msgspec.json.decode(self.body, type=shape)
        except msgspec.DecodeError as error:
            raise AnswerError(f"{error}, in {self.excerpt!r}") from error

    @property
    def excerpt(self) -> str:
        """Enough of it to see what it is."""
        return self.body[:200].decode(errors="replace").strip()


class Receiver:
    """Takes what the peer sends, up to `most` bytes and the answer's end, or the connection's."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._received = bytearray()
        self._next = 0
        """Where the next chunk begins; 0: the head has not come."""
        self._end: int | None = None
        """How long the answer is; None: that is not known, or its chunks tell it."""

    def receive(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > self._most:
            raise AnswerError(f"the answer is longer than {self._most} bytes")

    @property
    def is_whole(self) -> bool:
        """All of it is here, though the connection may not have ended; an answer that says no length ends with it."""
        if not self._next and not self._read_head():
            return False
        if self._end is None:
            self._skip_chunks()
        return self._end is not None and len(self._received) >= self._end

    def finish(self) -> Answer:
        """The connection has ended. Raises AnswerError if the answer has not."""
        return parse_answer(bytes(self._received))

    def _read_head(self) -> bool:
        length = self._received.find(_HEAD_END)
        if length < 0:
            return False
        self._next = length + len(_HEAD_END)
        fields = _fields(bytes(self._received[:length]).split(_END)[1:])
        if not _is_chunked(fields) and (size := fields.get("content-length", "")).isdigit():
            self._end = self._next + int(size)
        return _is_chunked(fields) or self._end is not None

    def _skip_chunks(self) -> None:
        """RFC 9112, 7.1; up to one that has not come, or that is none."""
        while (found := self._received.find(_END, self._next, self._next + _LONGEST_SIZE)) >= 0:
            size = _chunk_size(bytes(self._received[self._next : found]))
            if size <= 0:
                self._end = found + 2 * len(_END) if size == 0 else None
                return
            self._next = found + size + 2 * len(_END)


def parse_answer(received: bytes) -> Answer:
    """A whole answer, up to the connection's end. Raises AnswerError for anything else."""
    head, separator, body = received.partition(_HEAD_END)
    status_line, *lines = head.split(_END)
    words = status_line.split(maxsplit=2)
    if not separator or len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise AnswerError("the connection was closed without an answer" if not received else "this is no HTTP answer")
    fields = _fields(lines)
    if _is_chunked(fields):
        body = _join_chunks(body)
    elif (length := fields.get("content-length", "")).isdigit() and len(body) < int(length):
        raise AnswerError("the connection was closed within an answer")
    return Answer(int(words[1]), body, fields)


def _fields(lines: Iterable[bytes]) -> dict[str, str]:
    pairs = (line.decode("latin-1").partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def _is_chunked(fields: Mapping[str, str]) -> bool:
    return fields.get("transfer-encoding", "").lower() == "chunked"


def _chunk_size(line: bytes) -> int:
    """-1 for what is none."""
    try:
        return int(line.partition(b";")[0], 16)
    except ValueError:
        return -1


def _join_chunks(body: bytes) -> bytes:
    """RFC 9112, 7.1."""
    parts: list[bytes] = []
    position = 0
    while True:
        line, found, _ = body[position : position + _LONGEST_SIZE].partition(_END)
        size = _chunk_size(line) if found else -1
        begin = position + len(line) + len(_END)
        position = begin + size + len(_END)
        if size < 0 or len(body) < position - len(_END) * (size == 0):
            raise AnswerError("the connection was closed within an answer")
        if size == 0:
            return b"".join(parts)
        parts.append(body[begin : begin + size])
