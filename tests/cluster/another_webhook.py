"""A webhook of somebody else's, which comes after ours and adds a container to the pods of a namespace."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from tests.certificates import issue
from tests.cluster.kubectl import Kubectl

_NAME = "zz-another"
"""API servers ask in the order of the names."""


@contextmanager
def adding(container: Mapping[str, Any], kubectl: Kubectl, folder: Path) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(container))
    root = issue("another", None, "localhost")
    (folder / "another.pem").write_text(root.pem + root.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "another.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"https://localhost:{server.server_address[1]}/"
    try:
        kubectl.apply(_configuration(url, root.pem, kubectl.namespace))
        yield
    finally:
        kubectl("delete", "mutatingwebhookconfiguration", _NAME, "--ignore-not-found")
        server.shutdown()
        server.server_close()


def _configuration(url: str, roots: str, namespace: str) -> dict[str, Any]:
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
    webhook = {
        "name": "another.example.com",
        "clientConfig": {"url": url, "caBundle": base64.b64encode(roots.encode()).decode()},
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
    return {**head, "metadata": {"name": _NAME}, "webhooks": [webhook]}


def _handler(container: Mapping[str, Any]) -> type[BaseHTTPRequestHandler]:
    patch = json.dumps([{"op": "add", "path": "/spec/containers/-", "value": dict(container)}]).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            names = [each["name"] for each in asked["request"]["object"]["spec"]["containers"]]
            response: dict[str, Any] = {"uid": asked["request"]["uid"], "allowed": True}
            if container["name"] not in names:
                response |= {"patchType": "JSONPatch", "patch": base64.b64encode(patch).decode()}
            body = json.dumps({**asked, "request": None, "response": response}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
