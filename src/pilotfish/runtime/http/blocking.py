"""Asking while nothing else is to be done. Cheap to import: the command line pays for it each time."""

from __future__ import annotations

import socket
import time
from typing import Any

from pilotfish.runtime.http.message import Answer, Receiver, Request

_MOST = 512 * 1024 * 1024
"""An answer's most bytes; the config dump of an Envoy in a large mesh has some dozen million."""


def ask(stream: socket.socket, address: Any, request: Request, timeout: float, most: int = _MOST) -> Answer:
    """Connects `stream`, asks, and closes it. Raises OSError (ConnectionRefusedError, TimeoutError, AnswerError, ...)
    where no answer of at most `most` bytes comes within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    receiver = Receiver(most)
    with stream:
        stream.settimeout(timeout)
        stream.connect(address)
        stream.sendall(bytes(request))
        while chunk := _receive(stream, deadline):
            receiver.receive(chunk)
    return receiver.finish()


def _receive(stream: socket.socket, deadline: float) -> bytes:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    stream.settimeout(left)
    return stream.recv(65536)
