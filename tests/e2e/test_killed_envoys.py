"""A killed Envoy costs what was under way in it, and nobody else: who comes before the next one is there, waits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bench.pods import served
from tests.e2e.harness import PILOTFISH, MakeMesh, Mesh
from tests.e2e.load import STEADY
from tests.waiting import wait_until

RATE, SECONDS = 200, 2.4
ADMIN = 9901
UNDER_WAY = 8
"""Requests that one kill may cost: an Envoy that was killed has its sockets for some milliseconds more."""

pytestmark = pytest.mark.sidecars


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    kinds = {
        "client": f"proxy.istio.io/config: 'proxyAdminPort: {ADMIN}'",
        "server": "",
        "tproxy": "sidecar.istio.io/interceptionMode: TPROXY",
    }
    with make_mesh("e2e-killed-envoys", "---\n".join(served(*kind) for kind in kinds.items())) as mesh:
        yield mesh


def kill_envoy(mesh: Mesh, pod: str) -> None:
    def serves() -> Any:
        return next((p for p in mesh.status["proxies"] if p["pod"] == pod and p["ready"] and p["pid"]), None)

    os.kill(wait_until(f"{pod} has an Envoy", serves)["pid"], signal.SIGKILL)


def test_it_is_back_within_a_second_and_others_go_on(mesh: Mesh) -> None:
    before = {p["pod"]: p for p in mesh.status["proxies"]}
    address = f"http://{mesh.address('server')}:8000/"
    os.kill(before["server"]["pid"], signal.SIGKILL)
    killed = time.monotonic()
    wait_until("it serves again", lambda: mesh.status_code("client", address, "-m", "1") == "200", within=5)
    assert time.monotonic() - killed < 1.0
    after = {p["pod"]: p for p in mesh.status["proxies"]}
    assert after["server"]["restarts"] == before["server"]["restarts"] + 1
    assert after["client"]["pid"] == before["client"]["pid"]


@pytest.mark.parametrize(("server", "connections"), [("server", "fresh"), ("tproxy", "kept")])
def test_a_killed_envoy_costs_what_was_under_way(mesh: Mesh, server: str, connections: str) -> None:
    """The server's, then the client's. Captured by REDIRECT and by TPROXY."""
    load = [sys.executable, *STEADY, server, "8000", RATE, SECONDS, connections]
    command = [PILOTFISH, "exec", "--name", mesh.name, "client", "--", *load]
    client = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True, env=mesh.environment)
    try:
        for victim in (server, "client"):
            time.sleep(0.8)
            kill_envoy(mesh, victim)
        said, _ = client.communicate(timeout=30)
    finally:
        client.kill()
        client.wait()
    found = json.loads(said)
    assert found["requests"] == RATE * SECONDS
    assert sum(found["lost"].values()) <= 2 * UNDER_WAY, found
    assert "ConnectionRefusedError" not in found["lost"]


def test_an_envoy_s_admin_is_asked_where_it_is(mesh: Mesh) -> None:
    """A pod may choose its port."""
    listeners = mesh.call("proxy-config", "listeners", "client").stdout
    assert "virtualOutbound" in listeners or "15001" in listeners
    assert mesh.status_code("client", f"http://127.0.0.1:{ADMIN}/ready") == "200"
