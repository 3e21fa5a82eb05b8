"""A registry of images on this machine's loopback, which gives out what podman saved as a folder.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@dataclass
class Registry:
    address: str
    config: Path
    """For CONTAINERS_REGISTRIES_CONF: this registry is asked in plaintext."""
    folders: dict[str, Path] = field(default_factory=dict)
    """Image, as NAME/TAG, → `podman save --format docker-dir`."""
    account: tuple[str, str] | None = None
    """Who alone is given anything."""
    asked: list[str] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    """Until it is set, blobs come half, and no further."""


@contextmanager
def running_registry(folder: Path) -> Iterator[Registry]:
    folder.mkdir(exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    address = f"127.0.0.1:{server.server_port}"
    registry = Registry(address, folder / "registries.conf")
    registry.config.write_text(f'[[registry]]\nlocation = "{address}"\ninsecure = true\n')
    registry.go_on.set()
    server.registry = registry  # type: ignore[attr-defined]
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        yield registry
    finally:
        registry.go_on.set()
        server.shutdown()
        serving.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        registry: Registry = self.server.registry  # type: ignore[attr-defined]
        registry.asked.append(self.path)
        if registry.account is not None and not self._is_known(registry.account):
            self._answer(401, b"{}", {"WWW-Authenticate": 'Basic realm="tests"'})
            return
        parts = self.path.split("/")
        if self.path == "/v2/":
            self._answer(200, b"{}")
            return
        name, kind, what = "/".join(parts[2:-2]), parts[-2], parts[-1]
        found = next((f for key, f in registry.folders.items() if key.rpartition("/")[0] == name), None)
        if kind == "manifests":
            found = registry.folders.get(f"{name}/{what}") or (found if what.startswith("sha256:") else None)
        file = None if found is None else found / ("manifest.json" if kind == "manifests" else what.partition(":")[2])
        if file is None or not file.exists():
            self._answer(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}')
            return
        types = {"manifests": _MANIFEST, "blobs": "application/octet-stream"}
        self._answer(200, file.read_bytes(), {"Content-Type": types[kind]}, wait=kind == "blobs")

    do_HEAD = do_GET

    def _is_known(self, account: tuple[str, str]) -> bool:
        word = base64.b64encode(":".join(account).encode()).decode()
        return self.headers.get("Authorization") == f"Basic {word}"

    def _answer(self, code: int, body: bytes, headers: dict[str, str] | None = None, wait: bool = False) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        half = len(body) // 2
        self.wfile.write(body[:half])
        if wait:
            self.server.registry.go_on.wait()  # type: ignore[attr-defined]
        with suppress(OSError):  # who asked may be gone
            self.wfile.write(body[half:])

    def log_message(self, format: str, *args: object) -> None:
        pass
