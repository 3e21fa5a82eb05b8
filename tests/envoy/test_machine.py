"""One Envoy for the pods of a machine: each pod is who it is, from where it is, and sees what is its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.envoy.machine import Machine

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.timeout(90),
]


def service(name: str, namespace: str, address: str, port: int = 80, target: int = 8080, kind: str = "http") -> str:
    return f"""
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  clusterIP: {address}
  selector: {{app: {name}}}
  ports: [{{name: {kind}, port: {port}, targetPort: {target}}}]
---
"""


CALLED = service("called", "vm", "10.96.0.10")


async def test_two_pods_call_as_themselves(tmp_path: Path) -> None:
    async with Machine.running(tmp_path, CALLED) as machine:
        await machine.add_pod("one-0.vm", 2, {"app": "one"})
        await machine.add_pod("two-0.vm", 3, {"app": "two"})
        await machine.add_pod("called-0.vm", 4, {"app": "called"})
        await machine.app("called-0.vm", 8080, "called")
        for pod in ("one-0.vm", "two-0.vm"):
            for host in ("called", "called.vm"):
                answer = await machine.request(pod, "10.96.0.10", 80, host)
                assert "called GET /" in answer, machine.log.read_text()
