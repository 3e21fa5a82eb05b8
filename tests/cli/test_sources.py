"""What `-f` takes beside files and folders."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke

MANIFEST = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/settings.yaml" else 404)
        self.end_headers()
        self.wfile.write(MANIFEST.encode())

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    """Somebody's manifests, over HTTP."""
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_url_is_read(site: str, invoke: Invoke) -> None:
    result = invoke("validate", f"{site}/settings.yaml")
    assert (result.exit_code, result.stdout) == (0, "1 object is valid\n")


def test_a_url_that_has_nothing_says_what_it_was_answered(site: str, invoke: Invoke) -> None:
    result = invoke("validate", f"{site}/absent.yaml")
    assert result.exit_code == 1
    assert result.stderr == f"error: {site}/absent.yaml is answered 404 Not Found, so nothing of it can be used\n"
    gone = invoke("validate", "http://127.0.0.1:1/x.yaml")
    assert (gone.exit_code, "Connection refused" in gone.stderr) == (1, True)


def test_a_mesh_does_not_follow_a_url(site: str, state: Path, invoke: Invoke) -> None:
    result = invoke("up", f"{site}/settings.yaml")
    assert result.exit_code == 1
    assert f"curl -sL {site}/settings.yaml | pilotfish up -" in result.stderr
