"""Requests that are under way while something is done to a mesh, and pods that answer them: programs of bench/."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.e2e.harness import PILOTFISH, REPOSITORY, Mesh

BENCH: Final = REPOSITORY / "bench"
STEADY: Final = ("-S", "-E", str(BENCH / "http_steady.py"))
"""Python's arguments; the program's own are the host, the port, the rate, seconds or `-`, and how it connects."""
_SERVICE: Final = """
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 8000}}]}}
---
"""
_POD: Final = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}, annotations: {{{annotations}}}}}
spec:
  containers:
  - name: app
    command: [{python}, -S, -E, {bench}/http_server.py, "8000"]
    readinessProbe: {{tcpSocket: {{port: 8000}}, periodSeconds: 1}}
"""


def answering(name: str, annotations: str = "") -> str:
    """A pod that answers on port 8000."""
    return _POD.format(name=name, annotations=annotations, python=sys.executable, bench=BENCH)


def served(name: str, annotations: str = "") -> str:
    """One with its Service."""
    return _SERVICE.format(name=name) + answering(name, annotations)


@contextmanager
def load(mesh: Mesh, caller: str, *program: str) -> Iterator[dict[str, Any]]:
    """Requests as long as the block lasts, by a program that goes on until its input ends; what became of them is there
    then."""
    found: dict[str, Any] = {}
    line = [str(PILOTFISH), "exec", "--name", mesh.name, caller, "-i", "--", sys.executable, *program]
    client = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=mesh.environment)
    try:
        yield found
        said, _ = client.communicate("", timeout=60)
        found |= json.loads(said)
    finally:
        client.kill()
        client.wait()
