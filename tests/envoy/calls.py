"""Calls from a namespace, written out byte by byte, and what came back."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from pilotfish.runtime.linux.netns import NetNs

Steps = Sequence[tuple[float, str]]
"""What is sent, each after so many seconds more."""
_PATIENCE = 5.0


def call(netns: str, address: str, port: int, steps: Steps) -> tuple[str, float]:
    """What came back over one TCP connection, and after how many seconds; the text of the error in the place of what
    did not come. OSError if there is no connection.

    It ends with the connection, or, where it said `Connection: close` itself, with the answer: Envoy leaves one that it
    gives of its own accord open for a second more (`delayed_close_timeout`).
    """
    stops = "connection: close" in "".join(text for _, text in steps).lower()
    answer = b""
    with connect(netns, address, port) as stream:
        start = time.monotonic()
        try:
            for pause, text in steps:
                time.sleep(pause)
                stream.sendall(text.encode())
            for piece in pieces(stream, stops):
                answer += piece
        except OSError as error:
            answer += str(error).encode()
        return answer.decode(), time.monotonic() - start


def call_all(netns: str, address: str, port: int, calls: Iterable[Steps]) -> list[tuple[str, float]]:
    """For each; all are under way at once."""
    with ThreadPoolExecutor(100) as pool:
        return list(pool.map(lambda steps: call(netns, address, port, steps), calls))


def connect(netns: str, address: str, port: int, source: str = "") -> socket.socket:
    stream = NetNs.named(netns).socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    stream.settimeout(_PATIENCE)
    try:
        if source:
            stream.bind((source, 0))
        stream.connect((address, port))
    except OSError:
        stream.close()
        raise
    return stream


def pieces(stream: socket.socket, stops: bool) -> Iterator[bytes]:
    """What comes, to the end of the connection; if it `stops`, to that of the HTTP answer."""
    answer = b""
    while b"still here" not in answer and not (stops and _is_whole(answer)) and (data := stream.recv(65536)):
        answer += data
        yield data


def _is_whole(answer: bytes) -> bool:
    """Whether it is an HTTP answer that says how long it is, and is so long."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    return bool(end and length and head.startswith(b"HTTP/1.")) and len(body) >= int(length[1] if length else 0)
