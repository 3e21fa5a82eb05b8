"""Requests that are sent for real, one after the other, and what came of each: a program that runs in pods.

    client.py < calls    [{host, port, address, protocol, waits, method, path, authority, headers, tls, alpn, sni}]
              > results  [{status?, echo?, end?, source?, target?}]

`protocol`: http, http2, tcp. `end`: refused, reset or timeout, where there was no answer. `echo`: the pod that
answered, if it runs `server.py`. `source`, `target`: the connection's two ends, IP:PORT, as it has them here. Nothing
but the standard library may be imported.
"""

from __future__ import annotations

import errno
import itertools
import json
import random
import re
import socket
import ssl
import sys
from typing import Any

_TIMEOUT = 10.0
_FIRST, _COUNT = 32768, 28232
"""Ports that Linux gives out by itself: net.ipv4.ip_local_port_range."""
_PORTS = (_FIRST + number % _COUNT for number in itertools.count(random.randrange(_COUNT)))
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _GOING = 0, 1, 3, 4, 7
_STATUS = {8: 200, 9: 204, 10: 206, 11: 304, 12: 400, 13: 404, 14: 500}
"""`:status` in the static table of HPACK, RFC 7541 appendix A."""


def main() -> None:
    print(json.dumps([perform(call) for call in json.load(sys.stdin)]))


def perform(call: dict[str, Any]) -> dict[str, Any]:
    try:
        stream = _connect(call)
    except TimeoutError:
        return {"end": "timeout"}
    except (OSError, UnicodeError):
        return {"end": "refused"}
    with stream:
        ends = {"source": _place(*stream.getsockname()), "target": _place(*stream.getpeername())}
        try:
            return _converse(stream, call) | ends
        except TimeoutError:
            return {"end": "timeout"} | ends
        except OSError:
            return {"end": "reset"} | ends


def _place(address: str, port: int, *_: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _converse(stream: socket.socket, call: dict[str, Any]) -> dict[str, Any]:
    tunnel = _Tls(stream, call["sni"], call["alpn"]) if call["tls"] else None
    if tunnel is not None and (plain := tunnel.handshake()):
        return _told(plain)
    return _ask(tunnel or stream, call)


def _connect(call: dict[str, Any]) -> socket.socket:
    """From a port that no other connection of this run has or had: of two with one port that the kernel redirects to a
    proxy, the second comes there from another."""
    host, port = call["address"] or call["host"], call["port"]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    address = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)[0][4]
    stream = socket.socket(family, socket.SOCK_STREAM)
    stream.settimeout(_TIMEOUT)
    try:
        _bind(stream)
        stream.connect(address)
    except OSError:
        stream.close()
        raise
    return stream


def _bind(stream: socket.socket) -> None:
    for number in _PORTS:
        try:
            stream.bind(("::" if stream.family == socket.AF_INET6 else "0.0.0.0", number))
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise


def _ask(stream: Any, call: dict[str, Any]) -> dict[str, Any]:
    if call["protocol"] == "tcp":
        stream.sendall(b"" if call["waits"] else b"hello\n")
        return _told(stream.recv(4096))
    if call["protocol"] == "http2":
        return _ask_http2(stream, call)
    headers = {"host": call["authority"], "connection": "close", **call["headers"]}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    stream.sendall(f"{call['method']} {call['path']} HTTP/1.1\r\n{lines}\r\n".encode())
    answer = _some(stream)
    # A proxy that has answered may wait for the client to close: what is whole is enough.
    while not _is_whole(answer, call["method"]) and (got := stream.recv(65536)):
        answer += got
    return _told(answer)


def _is_whole(answer: bytes, method: str) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    said = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return bool(end and said) and (method == "HEAD" or len(body) >= int(said[1] if said else 0))


def _told(answer: bytes) -> dict[str, Any]:
    """Of the head of an HTTP answer, or of bytes."""
    if not answer:
        return {"end": "reset"}
    if answer.startswith(b"echo "):
        return {"echo": answer[5:].decode().strip()}
    if not answer.startswith(b"HTTP/1."):
        return {}
    lines = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    found: dict[str, Any] = {"status": int(lines[0].split()[1])}
    return found | ({"echo": headers["x-echo"]} if "x-echo" in headers else {})


def _ask_http2(stream: Any, call: dict[str, Any]) -> dict[str, Any]:
    """RFC 9113 and 7541, as far as one request without a body needs them."""
    scheme = "https" if call["tls"] else "http"
    # 0x00 begins a literal header that is not indexed.
    fields = {":method": call["method"], ":scheme": scheme, ":authority": call["authority"], ":path": call["path"]}
    block = b"".join(b"\x00" + _text(name) + _text(value) for name, value in {**fields, **call["headers"]}.items())
    stream.sendall(_PREFACE + _frame(_SETTINGS, 0, 0) + _frame(_HEADERS, 4 | 1, 1, block))
    got, found = b"", dict[str, Any]()
    while True:
        while len(got) < 9 or len(got) < 9 + int.from_bytes(got[:3], "big"):
            got += _some(stream)
        size, kind, flags = int.from_bytes(got[:3], "big"), got[3], got[4]
        payload, got = got[9 : 9 + size], got[9 + size :]
        if kind == _HEADERS and not found:
            found["status"] = _status(payload)
        elif kind == _DATA and payload.startswith(b"echo "):
            found |= _told(payload)
        elif kind == _SETTINGS and not flags & 1:
            stream.sendall(_frame(_SETTINGS, 1, 0))
        elif kind in (_RESET, _GOING) and not found:
            return {"end": "reset"}
        if kind in (_DATA, _HEADERS, _RESET) and (flags & 1 or kind == _RESET):
            return found


def _status(block: bytes) -> int:
    """What an answer's headers begin with. RFC 7541."""
    while block[0] & 0xE0 == 0x20:
        block = block[1:]  # the table's new size
    if block[0] & 0x80:
        return _STATUS[block[0] & 0x7F]
    digits = block[2 : 2 + (block[1] & 0x7F)]
    return _digits(digits) if block[1] & 0x80 else int(digits)


def _digits(coded: bytes) -> int:
    """Digits in HPACK's Huffman code, RFC 7541 appendix B: 0 to 2 have five bits, the others six."""
    bits = "".join(f"{each:08b}" for each in coded)
    said = ""
    while len(bits) >= 5 and set(bits) != {"1"}:
        short = int(bits[:5], 2)
        if short < 3:
            said, bits = said + str(short), bits[5:]
        else:
            said, bits = said + str(int(bits[:6], 2) - 22), bits[6:]
    return int(said)


def _text(value: str) -> bytes:
    """Not compressed; lengths of 127 and more take more bytes."""
    raw = value.encode()
    if len(raw) < 127:
        return bytes((len(raw),)) + raw
    rest, size = len(raw) - 127, b"\x7f"
    while rest >= 128:
        rest, size = rest >> 7, size + bytes((rest & 0x7F | 0x80,))
    return size + bytes((rest,)) + raw


def _frame(kind: int, flags: int, number: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + number.to_bytes(4, "big") + payload


def _some(stream: Any) -> bytes:
    got: bytes = stream.recv(65536)
    if not got:
        raise ConnectionResetError
    return got


class _Tls:
    """TLS whose peer may answer in the clear: `server.py` does, where no proxy ends the TLS before it."""

    def __init__(self, stream: socket.socket, name: str, alpn: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if alpn:
            context.set_alpn_protocols([alpn])
        self._stream, self._in, self._out = stream, ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=name or None)

    def handshake(self) -> bytes:
        """What came in the clear instead."""
        while True:
            try:
                self._tls.do_handshake()
                self._flush()
                return b""
            except ssl.SSLWantReadError:
                self._flush()
            got = _some(self._stream)
            if got.startswith((b"echo ", b"HTTP/1.")):
                return got
            self._in.write(got)

    def sendall(self, sent: bytes) -> None:
        self._tls.write(sent)
        self._flush()

    def recv(self, most: int) -> bytes:
        while True:
            try:
                return self._tls.read(most)
            except ssl.SSLWantReadError:
                self._flush()
            except ssl.SSLZeroReturnError:
                return b""
            got = self._stream.recv(65536)
            if not got:
                return b""
            self._in.write(got)

    def _flush(self) -> None:
        self._stream.sendall(self._out.read())


if __name__ == "__main__":
    main()
