"""An app that says who got a request: it runs in pods, as a program of its own.

    python3 -IS server.py ADDRESS:PORT...

To HTTP/1 and HTTP/2 it answers 200 with the body `echo NAME`, and the header `x-echo: NAME` as well; to anything else,
a ClientHello too, with the line `echo NAME`. NAME is the pod's (HOSTNAME). Nothing but the standard library may be
imported here.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
from typing import BinaryIO

_HTTP = re.compile(rb"[A-Z]+ \S+ HTTP/1\.[01]\r?\n")
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_PATIENCE = 1.0
"""Seconds that it waits for the client's first bytes; then it speaks itself."""
_DATA, _HEADERS, _SETTINGS, _PING = 0, 1, 4, 6
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4


def main() -> None:
    name = os.environ.get("HOSTNAME", "").encode()
    listening = [_listen(place) for place in sys.argv[1:]]
    print("ready", flush=True)
    threads = [threading.Thread(target=_accept, args=(each, name)) for each in listening]
    for thread in threads:
        thread.start()


def _listen(place: str) -> socket.socket:
    address, _, port = place.rpartition(":")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address.strip("[]"), int(port)), family=family, backlog=512)


def _accept(listening: socket.socket, name: bytes) -> None:
    while True:
        stream, _ = listening.accept()
        threading.Thread(target=_serve, args=(stream, name), daemon=True).start()


def _serve(stream: socket.socket, name: bytes) -> None:
    try:
        with stream, stream.makefile("rb") as file:
            stream.settimeout(_PATIENCE)
            try:
                first = file.peek(len(_PREFACE))
            except TimeoutError:
                stream.sendall(b"echo " + name + b"\n")  # the client waits for the server
                return
            stream.settimeout(None)
            if first.startswith(b"PRI "):
                _serve_http2(stream, file, name)
            elif _HTTP.match(line := first if first[:1] == b"\x16" else file.readline()):
                while _HTTP.match(line) and _serve_http1(stream, file, name, line[:5] == b"HEAD "):
                    line = file.readline()
            elif first:
                stream.sendall(b"echo " + name + b"\n")
    except OSError:
        pass  # whoever asked has gone away


def _serve_http1(stream: socket.socket, file: BinaryIO, name: bytes, is_head: bool) -> bool:
    """Whether another request may follow."""
    length, goes_on, body = 0, True, b"" if is_head else b"echo %s\n" % name
    while line := file.readline().strip().lower():
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
        goes_on = goes_on and line != b"connection: close"
    file.read(length)
    stream.sendall(b"HTTP/1.1 200 OK\r\nx-echo: %s\r\ncontent-length: %d\r\n\r\n" % (name, len(body)) + body)
    return goes_on


def _serve_http2(stream: socket.socket, file: BinaryIO, name: bytes) -> None:
    """RFC 9113, as far as a request needs it; headers are not read, and those of the answer not compressed."""
    file.read(len(_PREFACE))
    stream.sendall(_frame(_SETTINGS, 0, 0))
    while len(head := file.read(9)) == 9:
        payload = file.read(int.from_bytes(head[:3], "big"))
        kind, flags, number = head[3], head[4], int.from_bytes(head[5:], "big")
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            stream.sendall(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind in (_HEADERS, _DATA) and flags & _END_STREAM:
            # 0x88 is `:status: 200`; then a literal header that is not indexed.
            block = b"\x88\x00\x06x-echo" + bytes((len(name),)) + name
            stream.sendall(_frame(_HEADERS, _END_HEADERS, number, block))
            stream.sendall(_frame(_DATA, _END_STREAM, number, b"echo " + name + b"\n"))


def _frame(kind: int, flags: int, number: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + number.to_bytes(4, "big") + payload


if __name__ == "__main__":
    main()
