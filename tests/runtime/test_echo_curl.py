"""Requests by curl, where a container has nothing else."""

from __future__ import annotations

import http.server
import subprocess
import threading
from collections.abc import Iterator

import pytest

from pilotfish.explain.ask import Ask, parse
from pilotfish.runtime.echo.calls import Result
from pilotfish.runtime.echo.curl import curl_command, read_curl


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        is_as_asked = self.headers["host"] == "web:8080" and self.headers["end-user"] == "jason"
        self.send_response(207 if is_as_asked and self.path == "/add" else 400)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    server = http.server.HTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def perform(ask: Ask) -> Result:
    done = subprocess.run(curl_command(ask), capture_output=True, check=False)
    return read_curl(done.returncode, done.stdout)


def test_what_is_asked_is_sent_and_both_ends_of_the_connection_are_told(port: int) -> None:
    headers = ("end-user: jason", "host: web:8080")
    result = perform(parse(f"http://127.0.0.1:{port}/add", method="PUT", headers=headers))
    assert (result.status, result.target) == (207, f"127.0.0.1:{port}")
    assert result.source.startswith("127.0.0.1:")


def test_a_port_where_nobody_listens_refuses() -> None:
    assert perform(parse("http://127.0.0.1:1/")).end == "refused"


def test_tcp_is_not_curl_s() -> None:
    with pytest.raises(ValueError, match="HTTP alone"):
        curl_command(parse("redis:6379"))
