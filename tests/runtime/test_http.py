"""Asking over HTTP: what is an answer, and that no peer is believed or waited for without bound."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from pilotfish.runtime.http import blocking, loop
from pilotfish.runtime.http.message import Answer, AnswerError, Receiver, Request, parse_answer

Ask = Callable[[int, float, int], Answer]

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("received", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", 200, b""),
        (b"HTTP/1.0 404 Not Found\r\ncontent-type: text/plain\r\n\r\nno", 404, b"no"),
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
        (CHUNKED + b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n", 200, b"abc0123456789"),
    ],
)
def test_an_answer(received: bytes, status: int, body: bytes) -> None:
    assert parse_answer(received) == Answer(status, body)


@pytest.mark.parametrize(
    "received",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"SSH-2.0-x 200\r\n\r\n",
        b"HTTP/1.1 soon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok",
        CHUNKED,
        CHUNKED + b"3\r\nab",
        CHUNKED + b"3\r\nabc\r\n",
        CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n",
    ],
)
def test_what_is_no_answer(received: bytes) -> None:
    with pytest.raises(AnswerError):
        parse_answer(received)


WHOLE = (
    b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n",
    CHUNKED + b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
)


@pytest.mark.parametrize("received", WHOLE)
def test_the_end_of_an_answer_is_seen_without_that_of_its_connection(received: bytes) -> None:
    """However it comes."""
    receiver = Receiver(1000)
    for at in range(len(received)):
        assert not receiver.is_whole, received[:at]
        receiver.receive(received[at : at + 1])
    assert receiver.is_whole
    assert receiver.finish() == parse_answer(received)


@pytest.mark.parametrize(
    "received", [b"HTTP/1.1 200 OK\r\n\r\nno length", CHUNKED + b"x\r\nabc\r\n0\r\n\r\n", b"SSH-2.0\r\n"]
)
def test_of_others_only_the_connection_s_end_is_the_end(received: bytes) -> None:
    receiver = Receiver(1000)
    receiver.receive(received)
    assert not receiver.is_whole


def test_an_answer_is_read_in_its_type() -> None:
    assert Answer(200, b'{"a": [1]}').read(dict[str, list[int]]) == {"a": [1]}
    with pytest.raises(AnswerError, match=r"Expected `int`.*in '\[\"x\"\]'"):
        Answer(200, b'["x"]').read(list[int])
    with pytest.raises(AnswerError, match="status 503: not ready"):
        Answer(503, b"not ready\n").read(list[int])


def _blocking(port: int, timeout: float, most: int) -> Answer:
    return blocking.ask(socket.socket(), ("127.0.0.1", port), Request("POST", "/x", b"body"), timeout, most)


def _loop(port: int, timeout: float, most: int) -> Answer:
    return asyncio.run(loop.ask(socket.socket(), ("127.0.0.1", port), Request("POST", "/x", b"body"), timeout, most))


@contextmanager
def peer(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of one that `behave`s to whoever connects first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection = listener.accept()[0]
            with connection:
                behave(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


@pytest.fixture(params=[_blocking, _loop], ids=["blocking", "loop"])
def ask(request: pytest.FixtureRequest) -> Ask:
    found: Ask = request.param
    return found


def test_one_request_one_answer(ask: Ask) -> None:
    asked = []

    def answer(connection: socket.socket) -> None:
        asked.append(connection.recv(1000))
        for part in (b"HTTP/1.1 2", b"00 OK\r\n\r", b"\nfi", b"ne"):
            connection.sendall(part)

    with peer(answer) as port:
        assert ask(port, 5, 1000) == Answer(200, b"fine")
    head = b"POST /x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 4\r\n\r\n"
    assert asked == [head + b"body"]


def test_an_endless_answer_is_cut_off(ask: Ask) -> None:
    def flood(connection: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection.sendall(b"x" * 65536)

    with peer(flood) as port, pytest.raises(AnswerError, match="longer than 100000 bytes"):
        ask(port, 5, 100_000)


def test_who_dribbles_is_not_waited_for(ask: Ask) -> None:
    """A byte now and then must not prolong it."""

    def dribble(connection: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection.sendall(b"x")
                time.sleep(0.02)

    began = time.monotonic()
    with peer(dribble) as port, pytest.raises(TimeoutError):
        ask(port, 0.3, 1000)
    assert time.monotonic() - began < 3


def test_nobody_there(ask: Ask) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            ask(deaf.getsockname()[1], 5, 1000)
