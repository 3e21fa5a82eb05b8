"""What an app in a pod can do to the mesh through discovery's port: nothing, to anybody but itself."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

import pytest

from tests.e2e.harness import CALCULATOR, WEBAPP, MakeMesh, Mesh
from tests.prometheus import total
from tests.waiting import wait_until

CLIENT = """
import sys, time
import grpc
from envoy.service.discovery.v3 import discovery_pb2

address, node, seconds = sys.argv[1:]
request = discovery_pb2.DeltaDiscoveryRequest(type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster")
request.node.id = node

def ask():
    yield request.SerializeToString()
    time.sleep(float(seconds))

method = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
call = grpc.insecure_channel(address).stream_stream(method)(ask(), timeout=float(seconds))
try:
    for _ in call:
        print("SERVED", flush=True)
except grpc.RpcError as error:
    print(error.code().name, error.details(), flush=True)
"""


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    with make_mesh("e2e-strangers", CALCULATOR, "--allow-plaintext") as mesh:
        yield mesh


def say(mesh: Mesh, node: str, seconds: float) -> str:
    """What discovery answers to somebody in the webapp's pod who never acknowledges anything."""
    address = mesh.status["discovery"]["plaintext_address"]
    return mesh.exec(WEBAPP, sys.executable, "-c", CLIENT, address, node, f"{seconds:g}", check=False).stdout


def node_id(mesh: Mesh, app: str) -> str:
    name = mesh.pods(app)[0]["name"]
    return str(next(p["node_id"] for p in mesh.status["proxies"] if p["pod"] == name))


def test_nobody_is_served_but_as_the_pod_that_it_is(mesh: Mesh) -> None:
    other = node_id(mesh, "calculator")
    said = say(mesh, other, 10)
    assert "PERMISSION_DENIED" in said
    assert "from its own address only" in said
    said = say(mesh, other.replace("calculator", "stranger"), 10)
    assert "PERMISSION_DENIED no pod stranger" in said
    metrics = mesh.curl(WEBAPP, f"http://{mesh.status['discovery']['monitoring_address']}/metrics").stdout
    assert total(metrics, "pilotfish_xds_refused_streams_total", reason="address") >= 1
    assert total(metrics, "pilotfish_xds_refused_streams_total", reason="unknown") >= 1
    assert mesh.status["ready"]


def test_a_client_that_takes_nothing_is_named_and_holds_up_no_pod_that_ends(mesh: Mesh) -> None:
    said: list[str] = []
    node = node_id(mesh, "webapp")
    stalling = threading.Thread(target=lambda: said.append(say(mesh, node, 40)))
    stalling.start()

    def problem(reason: str) -> bool:
        return any(p["reason"] == reason and "webapp" in p["message"] for p in mesh.status["problems"])

    wait_until("it is named", lambda: problem("ProxySlow"))
    assert not mesh.status["ready"]
    victim = mesh.pods("calculator")[0]["name"]
    began = time.monotonic()
    mesh.call("delete", "pod", "-n", "vm", victim)
    wait_until("the pod has ended", lambda: all(p["name"] != victim for p in mesh.pods("calculator")))
    assert time.monotonic() - began < 5, "10.9 s once, and 40 s with 100 of them"
    wait_until("it is cut off", lambda: problem("ProxyCutOff"), within=30)
    stalling.join()
    assert "UNAVAILABLE" in said[0]
    assert "is cut off" in said[0]
