"""A request and its answer as bytes. The connection ends with the answer, so that nothing is kept between two.

Source: RFC 9112
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec

T = TypeVar("T")
_END: Final = b"\r\n"


class AnswerError(ConnectionError):
    """What came is no answer: cut off, too long, or not what was asked for."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str
    """Path and query."""
    body: bytes = b""

    def __bytes__(self) -> bytes:
        head = f"{self.method} {self.target} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
        return f"{head}content-length: {len(self.body)}\r\n\r\n".encode() + self.body


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes

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
    """Takes what the peer sends, up to `most` bytes and the connection's end."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._received = bytearray()

    def receive(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > self._most:
            raise AnswerError(f"the answer is longer than {self._most} bytes")

    def finish(self) -> Answer:
        """The connection has ended. Raises AnswerError if the answer has not."""
        return parse_answer(bytes(self._received))


def parse_answer(received: bytes) -> Answer:
    """A whole answer, up to the connection's end. Raises AnswerError for anything else."""
    head, separator, body = received.partition(b"\r\n\r\n")
    status_line, *lines = head.split(_END)
    words = status_line.split(maxsplit=2)
    if not separator or len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
        raise AnswerError("the connection was closed without an answer" if not received else "this is no HTTP answer")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        body = _join_chunks(body)
    elif (length := fields.get(b"content-length", b"")).isdigit() and len(body) < int(length):
        raise AnswerError("the connection was closed within an answer")
    return Answer(int(words[1]), body)


def _join_chunks(body: bytes) -> bytes:
    """RFC 9112, 7.1."""
    parts: list[bytes] = []
    position = 0
    while True:
        line, found, _ = body[position : position + 100].partition(_END)
        try:
            size = int(line.partition(b";")[0], 16) if found else -1
        except ValueError:
            size = -1
        begin = position + len(line) + len(_END)
        position = begin + size + len(_END)
        if size < 0 or len(body) < position - len(_END) * (size == 0):
            raise AnswerError("the connection was closed within an answer")
        if size == 0:
            return b"".join(parts)
        parts.append(body[begin : begin + size])
