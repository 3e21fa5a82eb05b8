"""Pods that answer HTTP by `http_server.py`, and their Services: manifests of benches, and of tests under load."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

UNINJECTED: Final = 'sidecar.istio.io/inject: "false"'
NODE: Final = "pilotfish.io/proxy: node"
_SERVER: Final = Path(__file__).parent / "http_server.py"
_POD: Final = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{app: {name}}}, annotations: {{{annotations}}}}}
spec:
  containers:
  - name: app
    command: [{python}, -S, -E, {server}, "{port}"]
    readinessProbe: {{tcpSocket: {{port: {port}}}, periodSeconds: 1}}
"""
_SERVICE: Final = """
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{app: {app}}}
  ports: [{{name: http, port: {port}, targetPort: 8000}}]
"""


def answering(name: str, annotations: str = "", namespace: str = "default", port: int = 8000) -> str:
    return _POD.format(
        name=name, namespace=namespace, annotations=annotations, python=sys.executable, server=_SERVER, port=port
    )


def service(name: str, app: str, namespace: str = "default", port: int = 8000) -> str:
    """Of the pods of this name that answer on port 8000."""
    return _SERVICE.format(name=name, namespace=namespace, app=app, port=port)


def served(name: str, annotations: str = "", namespace: str = "default") -> str:
    """A pod with its Service."""
    return f"{service(name, name, namespace)}---{answering(name, annotations, namespace)}"
