"""What discovery holds for those who mean harm: while they are there, and after."""

from __future__ import annotations

import asyncio
import gc
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

from pilotfish.ads import DeltaRequest
from pilotfish.ads.wire import Payload
from pilotfish.discovery.session import ProxySession
from pilotfish.envoy.types import CLUSTER, ENDPOINT
from pilotfish.runtime.discovery import ads_server, connection
from pilotfish.runtime.discovery.address import Address
from tests.chaos import stranger
from tests.chaos.gauges import held
from tests.e2e.harness import PILOTFISH
from tests.manifests import save, service
from tests.runtime.discovery_client import METHOD, WEB, discovery
from tests.waiting import until, wait_until

ONE = service("one", "10.96.0.10", "10.0.0.1")
POD = """
---
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: vm}
spec: {containers: [{name: app, command: [sleep]}]}
status: {phase: Running, podIP: 127.0.0.1, podIPs: [{ip: 127.0.0.1}]}
"""
NODE = "sidecar~127.0.0.1~web-0.vm~vm.svc.cluster.local"
FIRST = DeltaDiscoveryRequest(type_url=CLUSTER, node={"id": WEB}).SerializeToString()
UNKNOWN = [f"outbound|80||{number:080}" for number in range(40_000)]
MUCH = DeltaDiscoveryRequest(type_url=ENDPOINT, resource_names_subscribe=UNKNOWN).SerializeToString()
"""The answer to which are megabytes."""


class Ways:
    """How a stream ends."""

    @staticmethod
    async def refused(call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        more = [f"{number}" for number in range(40_000)]
        await call.write(DeltaDiscoveryRequest(type_url=ENDPOINT, resource_names_subscribe=more).SerializeToString())
        async for _ in call:
            pass

    @staticmethod
    async def malformed(call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        await call.write(b"\xff")
        async for _ in call:
            pass

    @staticmethod
    async def closed(call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        await call.done_writing()
        async for _ in call:
            pass

    @staticmethod
    async def broken_off(call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        await call.read()

    @staticmethod
    async def broken_off_unread(call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        pass

    @staticmethod
    async def unread(call: grpc.aio.StreamStreamCall[bytes, bytes]) -> None:
        await asyncio.sleep(0.5)


@pytest.mark.parametrize("way", [name for name in vars(Ways) if not name.startswith("_")])
async def test_nothing_of_a_stream_outlives_it(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even until somebody looks for garbage in cycles: that may be long after a hundred others came and went."""
    monkeypatch.setattr(connection, "_WRITE_LIMIT", 0.3)
    monkeypatch.setattr(ads_server, "_LAST_WRITE", 0.1)
    save(tmp_path / "mesh.yaml", ONE)
    async with discovery(tmp_path / "mesh.yaml") as made:
        gc.collect()
        gc.disable()
        try:
            await converse(made.xds, way)
            await until("nothing is left", lambda: not left(), 5)
        finally:
            gc.enable()


async def converse(address: Address, way: str) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(str(address), options=options) as channel:
        call = channel.stream_stream(METHOD + "DeltaAggregatedResources")()
        try:
            await call.write(FIRST)
            await call.write(MUCH)
            await getattr(Ways, way)(call)
        except grpc.aio.AioRpcError:
            pass
        finally:
            call.cancel()


def left() -> list[object]:
    return [found for found in gc.get_objects() if isinstance(found, ProxySession | DeltaRequest | Payload)]


@pytest.mark.parametrize("how", ["asks-for-much", "names-others"])
def test_what_a_pod_makes_discovery_hold_is_bounded_and_given_back(how: str, tmp_path: Path) -> None:
    with alone(tmp_path) as (pid, target):
        before = held(pid).memory
        over = threading.Event()
        talking = [threading.Thread(target=stranger.talk, args=(how, target, NODE, over)) for _ in range(8)]
        for thread in talking:
            thread.start()
        most = before
        for _ in range(25):
            over.wait(0.1)
            most = max(most, held(pid).memory)
        over.set()
        for thread in talking:
            thread.join()
        assert most < before + 110
        wait_until("the most of it is given back", lambda: held(pid).memory < before + 25, 20)


@contextmanager
def alone(folder: Path) -> Iterator[tuple[int, str]]:
    """A discovery in a process of its own: its id, and where it serves the pod."""
    save(folder / "mesh.yaml", ONE + POD)
    log = folder / "log"
    command = ("discovery", "--only-pods", "--config", str(folder / "mesh.yaml"))
    anywhere = ("--xds-address", "127.0.0.1:0", "--monitoring-address", "127.0.0.1:0")
    with log.open("wb") as written:
        process = subprocess.Popen([PILOTFISH, *command, *anywhere], stderr=written)
    try:
        found = wait_until("it serves", lambda: re.search(r"serving xDS on (\S+),", log.read_text()))
        yield process.pid, found[1]
    finally:
        process.terminate()
        process.wait()
