"""Clients that mean harm or know no better: `hostile.py HOW SECONDS HOST:PORT ...`. Runs in the node's namespace.

Whatever becomes of them is right, as long as nobody else notices.
"""

import os
import random
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress

EACH = 20
"""Connections to each target."""


def half_a_head(connection: socket.socket) -> None:
    connection.sendall(b"GET / HTTP/1.1\r\nhost: steady\r\nx-slow: ")


def a_byte_at_a_time(connection: socket.socket) -> None:
    connection.sendall(b"a")


def garbage(connection: socket.socket) -> None:
    connection.sendall(os.urandom(random.randrange(1, 5000)))


def a_long_head(connection: socket.socket) -> None:
    connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x-long: " + b"y" * 200_000 + b"\r\n\r\n")


def never_reads(connection: socket.socket) -> None:
    connection.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n" * 50)


def a_preface_alone(connection: socket.socket) -> None:
    """HTTP/2's, as gRPC's clients send it, and a frame that promises 16 MB."""
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01")


def leaves(connection: socket.socket) -> None:
    """By a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


WAYS: dict[str, Callable[[socket.socket], None]] = {
    "half-a-head": half_a_head,
    "a-byte-at-a-time": a_byte_at_a_time,
    "garbage": garbage,
    "a-long-head": a_long_head,
    "never-reads": never_reads,
    "a-preface-alone": a_preface_alone,
    "leaves": leaves,
}


def connect(target: str) -> socket.socket | None:
    host, _, port = target.rpartition(":")
    with suppress(OSError):
        return socket.create_connection((host, int(port)), 1)
    return None


def main(how: str, seconds: float, targets: list[str]) -> None:
    end = time.monotonic() + seconds
    held: list[socket.socket | None] = [None] * (len(targets) * EACH)
    while time.monotonic() < end:
        for number, connection in enumerate(held):
            if time.monotonic() > end:
                break  # a target that is gone lets each wait
            connection = connection or connect(targets[number % len(targets)])
            held[number] = connection if connection and tries(how, connection) else None
        time.sleep(0.2)


def tries(how: str, connection: socket.socket) -> bool:
    """Whether the connection is still there."""
    try:
        connection.settimeout(0.01)
        WAYS[how](connection)
    except TimeoutError:
        pass  # the other side takes no more for now
    except OSError:
        connection.close()
        return False
    return True


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
