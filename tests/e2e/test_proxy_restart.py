"""Another Envoy takes over from a sidecar's, from a gateway's, from the machine's, and no request fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from bench.pods import served
from tests.e2e.harness import MakeMesh, Mesh
from tests.e2e.load import STEADY, load
from tests.waiting import wait_until

IN_TURN = """
import http.client, json, select, sys, time
connection, lost, requests = http.client.HTTPConnection(sys.argv[1], 8000, timeout=5), {}, 0
while not select.select([sys.stdin], [], [], 0.03)[0]:
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        what = str(answer.status)
    except OSError as error:
        what = type(error).__name__
    requests += 1
    if what != "200":
        lost[what] = lost.get(what, 0) + 1
print(json.dumps({"requests": requests, "lost": lost}))
"""
"""One request after the other: the Envoys need but one connection for it, which is never idle."""
MODES = {"caller": "sidecar", "called": "sidecar", "guest-caller": "node", "guest-called": "node"}

LOADS = (
    ("caller", *STEADY, "guest-called", "8000", "20", "-", "fresh"),
    ("guest-caller", *STEADY, "guest-called", "8000", "20", "-", "kept"),
    ("guest-caller", "-c", IN_TURN, "guest-called"),
    ("guest-caller", "-c", IN_TURN, "called"),
    ("caller", "-c", IN_TURN, "called"),
)


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    text = "---\n".join(served(name, f"pilotfish.io/proxy: {mode}") for name, mode in MODES.items())
    with make_mesh("e2e-proxy-restart", text) as mesh:
        yield mesh


def connections(mesh: Mesh, pod: str) -> int:
    """That its Envoy took from others."""
    said = mesh.admin(pod, "/stats?filter=^listener.0.0.0.0_15006.downstream_cx_active$")
    return int(said.rpartition(": ")[2])


def has_ended(process: Path) -> bool:
    return not process.exists()


def envoys(mesh: Mesh) -> dict[str, int]:
    """The process of each proxy that has one."""
    return {proxy["pod"]: proxy["pid"] for proxy in mesh.status["proxies"] if proxy["pid"]}


def test_no_request_fails(mesh: Mesh) -> None:
    """Requests that the server's proxy does not read again are among them: it passes their connections on, and can't
    say on them that it ends. So their clients' Envoys must leave them, though they are not restarted."""
    machine = next(f"{proxy['pod']}.{proxy['namespace']}" for proxy in mesh.status["proxies"] if proxy["serves"])
    before = envoys(mesh)
    with ExitStack() as stack:
        found = [stack.enter_context(load(mesh, *each)) for each in LOADS]
        wait_until("all call", lambda: connections(mesh, "called") == 2)
        for names in (("called", machine), ("caller",)):
            for name in names:
                assert mesh.call("proxy-restart", name).stdout.startswith("another Envoy serves")
            for name in names:
                process = Path(f"/proc/{before[name.partition('.')[0]]}")
                wait_until("the one before has ended", partial(has_ended, process), within=45)
        after = envoys(mesh)
        assert not any(before[name] == after[name] for name in before)
    assert [each["lost"] for each in found] == [{}] * len(found)
    assert not any(each["requests"] < 100 for each in found)


def test_a_name_that_no_proxy_has(mesh: Mesh) -> None:
    refused = mesh.call("proxy-restart", "nobody", check=False)
    assert refused.returncode == 1
    assert 'pods "nobody" not found' in refused.stderr
    refused = mesh.call("proxy-restart", "guest-called", check=False)
    assert "has no Envoy of its own; its machine's is" in refused.stderr
