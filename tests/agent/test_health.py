"""gRPC's health check, byte by byte. That a real server understands it, tests/runtime/test_agent_probing.py shows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.agent.health import HealthCheck, check_request

SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
SETTINGS_ACK = b"\x00\x00\x00\x04\x01\x00\x00\x00\x00"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def message(status: int) -> bytes:
    body = bytes((8, status)) if status else b""
    return b"\0" + len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (frame(0, 0, 1, message(1)), "SERVING"),
        (frame(0, 0, 1, message(2)), "NOT_SERVING"),
        (frame(0, 0, 1, message(3)), "SERVICE_UNKNOWN"),
        (frame(0, 0, 1, message(0)), "UNKNOWN"),
        (frame(0, 0, 1, message(9)), "status 9"),
        (frame(0, 8, 1, b"\x02" + message(1) + b"\0\0"), "SERVING"),
        (frame(0, 0, 1, message(1)[:3]) + frame(0, 0, 1, message(1)[3:]), "SERVING"),
        (frame(1, 4, 1, b"\x88") + frame(0, 0, 1, message(1)) + frame(1, 5, 1, b"x"), "SERVING"),
        (frame(1, 5, 1, b"\x88"), "the server answered with an error, not with a health status"),
        (frame(3, 0, 1, b"\0\0\0\1"), "the server refused the call"),
        (frame(7, 0, 0, bytes(8)), "the server refused the call"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the server does not speak HTTP/2"),
        (frame(0, 0, 1, b"\0\xff\xff\xff\xff"), "the server's answer is no health status"),
    ],
)
def test_result(answer: bytes, result: str) -> None:
    check = HealthCheck()
    assert check.receive(SETTINGS) == SETTINGS_ACK
    assert check.receive(SETTINGS_ACK) == b""
    for position in range(len(answer)):
        check.receive(answer[position : position + 1])
    assert check.result == result


def test_a_ping_is_answered() -> None:
    assert HealthCheck().receive(frame(6, 0, 0, b"12345678")) == frame(6, 1, 0, b"12345678")


def test_a_closed_connection_is_an_answer() -> None:
    check = HealthCheck()
    check.receive(b"")
    assert check.result == "the server closed the connection without an answer"


@pytest.mark.parametrize("length", [0, 1, 126, 127, 300])
def test_a_service_s_name_may_be_long(length: int) -> None:
    assert check_request("h:1", "s" * length).endswith(b"s" * length)


@given(st.binary(max_size=200))
def test_no_bytes_are_an_error(data: bytes) -> None:
    HealthCheck().receive(data)
