"""A pod that floods the machine's proxy leaves the others their share of it."""

from __future__ import annotations

import json
import resource
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from bench.pods import answering
from pilotfish.envoy.node_limits import NodeLimits
from pilotfish.runtime.http import blocking
from pilotfish.runtime.http.message import Request
from pilotfish.runtime.linux.netns import NetNs
from tests.e2e.harness import MakeMesh, Mesh
from tests.waiting import wait_until

PODS = ("flooded", "other", "leaving")
FLOOD, LIMIT = 30, 5


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    text = "---\n".join(answering(name, "pilotfish.io/proxy: node") for name in PODS)
    with make_mesh("e2e-node-limits", text) as mesh:
        yield mesh


def admin(mesh: Mesh, path: str, method: str = "GET") -> str:
    """Of the machine's proxy, which is in no pod."""
    node = NetNs.named(f"pf-{mesh.name}")
    return blocking.ask(node.socket(), ("127.0.0.1", 15000), Request(method, path), 5).body.decode()


def flag(pod: str) -> str:
    return f"envoy.resource_limits.listener.virtualInbound~{pod}.default.connection_limit"


def limit(mesh: Mesh, pod: str) -> str:
    """What Envoy holds for a pod; "" if it has no limit of its own."""
    entries = json.loads(admin(mesh, "/runtime"))["entries"]
    return str(entries.get(flag(pod), {}).get("final_value", ""))


def lives(connection: socket.socket) -> bool:
    """Whether Envoy has not closed it."""
    readable, _, _ = select.select([connection], [], [], 0)
    return not readable


def test_each_pod_has_its_share_as_long_as_it_is_there_whichever_envoy_serves(mesh: Mesh) -> None:
    share = str(NodeLimits.of(resource.getrlimit(resource.RLIMIT_NOFILE)[1]).for_one_pod)
    wait_until("each pod has its limit", lambda: all(limit(mesh, pod) == share for pod in PODS))
    mesh.call("delete", "pod", "leaving")
    wait_until("the limit is gone with its pod", lambda: limit(mesh, "leaving") == "")
    machine = next(proxy for proxy in mesh.status["proxies"] if proxy["serves"])
    mesh.call("proxy-restart", f"{machine['pod']}.{machine['namespace']}")
    wait_until("the next Envoy has it", lambda: limit(mesh, "flooded") == share)


def test_connections_beyond_it_are_closed_and_other_pods_are_served(mesh: Mesh) -> None:
    admin(mesh, f"/runtime_modify?{flag('flooded')}={LIMIT}", "POST")
    node, address = NetNs.named(f"pf-{mesh.name}"), mesh.address("flooded")
    with ExitStack() as stack:
        flood = [stack.enter_context(node.socket()) for _ in range(FLOOD)]
        for each in flood:
            each.connect((address, 8000))
        wait_until("the rest is closed", lambda: sum(map(lives, flood)) == LIMIT)
        assert mesh.status_code("other", f"http://{mesh.address('other')}:8000/") == "200"
        with node.socket() as asking:
            answer = blocking.ask(asking, (mesh.address("other"), 8000), Request("GET", "/"), 5)
        assert answer.status == 200
