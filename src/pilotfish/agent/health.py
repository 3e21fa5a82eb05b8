"""gRPC's health check, byte by byte: one request to write, and the answer in what comes back.

A gRPC library in the process that holds all agents would cost more memory than a pod's whole agent. One unary call
needs no HPACK decoder: the health status is the body of the one message, and without a message there is no health.

Source: https://grpc.io/docs/guides/health-checking/, RFC 9113 (frames), RFC 7541 (header field representations)
"""

from __future__ import annotations

from typing import Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_PATH: Final = b"/grpc.health.v1.Health/Check"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _ACK, _END_HEADERS, _PADDED = 1, 1, 4, 8
_STREAM: Final = 1
_LARGEST_FRAME: Final = 16384
"""As long as nobody allowed more (RFC 9113, 4.2)."""
_STATUS = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


def check_request(authority: str, service: str) -> bytes:
    """All that a client writes at first: preface, settings, and the call of Check(service)."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    body = b"\0" + len(message).to_bytes(4, "big") + message
    return (
        _PREFACE
        + _frame(_SETTINGS, 0, 0, b"")
        + _frame(_HEADERS, _END_HEADERS, _STREAM, _headers(authority))
        + _frame(_DATA, _END_STREAM, _STREAM, body)
    )


class HealthCheck:
    """Feed it what the server sends; write what it returns; `result` is set when the answer is there."""

    __slots__ = ("_buffer", "_message", "result")

    def __init__(self) -> None:
        self._buffer = b""
        self._message = b""
        self.result: str | None = None
        """SERVING, or why not."""

    def receive(self, data: bytes) -> bytes:
        """`data` empty: the server closed the connection."""
        if not data and self.result is None:
            self.result = "the server closed the connection without an answer"
        self._buffer += data
        replies = b""
        while self.result is None and len(self._buffer) >= 9:
            length = int.from_bytes(self._buffer[:3], "big")
            if length > _LARGEST_FRAME:
                self.result = "the server does not speak HTTP/2"
            if self.result is not None or len(self._buffer) < 9 + length:
                break
            kind, flags = self._buffer[3], self._buffer[4]
            stream = int.from_bytes(self._buffer[5:9], "big") & 0x7FFFFFFF
            payload = self._buffer[9 : 9 + length]
            self._buffer = self._buffer[9 + length :]
            replies += self._frame(kind, flags, stream, payload)
        return replies

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        if kind == _SETTINGS and not flags & _ACK:
            return _frame(_SETTINGS, _ACK, 0, b"")
        if kind == _PING and not flags & _ACK:
            return _frame(_PING, _ACK, 0, payload)
        if kind == _GOAWAY or (kind == _RESET and stream == _STREAM):
            self.result = "the server refused the call"
        elif stream == _STREAM and kind == _DATA:
            self._message += payload[1 : len(payload) - payload[0]] if flags & _PADDED else payload
            self._judge()
        if self.result is None and stream == _STREAM and kind in (_DATA, _HEADERS) and flags & _END_STREAM:
            self.result = "the server answered with an error, not with a health status"
        return b""

    def _judge(self) -> None:
        """The message is five bytes of frame and, if the status is not 0, the field 1 as a varint."""
        if len(self._message) < 5:
            return
        length = int.from_bytes(self._message[1:5], "big")
        if length > _LARGEST_FRAME:
            self.result = "the server's answer is no health status"
        if self.result is not None or len(self._message) < 5 + length:
            return
        body = self._message[5 : 5 + length]
        status = body[1] if len(body) >= 2 and body[0] == 0x08 else 0
        self.result = _STATUS.get(status, f"status {status}")


def _headers(authority: str) -> bytes:
    """Indexed fields of the static table (RFC 7541, appendix A); the others as literals that are not indexed."""
    return (
        b"\x83\x86"  # :method POST, :scheme http
        + b"\x04" + _text(_PATH)
        + b"\x01" + _text(authority.encode())
        + b"\x0f\x10" + _text(b"application/grpc")  # content-type is entry 31: 15 + 16
        + b"\x00" + _text(b"te") + _text(b"trailers")
        + b"\x0f\x2b" + _text(b"kube-probe/pilotfish")  # user-agent is entry 58: 15 + 43
    )  # fmt: skip


def _text(value: bytes) -> bytes:
    """A string literal without Huffman coding; longer than 126 bytes it takes more than one byte of length."""
    if len(value) < 127:
        return bytes((len(value),)) + value
    return b"\x7f" + _varint(len(value) - 127) + value


def _varint(value: int) -> bytes:
    """Seven bits at a time, least first: HPACK's integers and protobuf's alike."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
