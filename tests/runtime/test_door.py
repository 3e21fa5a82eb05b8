"""What an attacker of the xDS port sees, over real connections, and what those see who look."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2

from pilotfish.ads import Request
from pilotfish.discovery import admission, patience
from pilotfish.discovery.pace import SAVED, SHARE
from pilotfish.discovery.session import ProxySession
from pilotfish.envoy.types import CLUSTER, ENDPOINT, ROUTE
from pilotfish.runtime.discovery import ads_server
from pilotfish.runtime.discovery.address import Address
from pilotfish.runtime.discovery.driver import Driver
from pilotfish.runtime.discovery.serve import DiscoveryServer
from tests.manifests import save, service
from tests.prometheus import total
from tests.runtime.discovery_client import METHOD, WEB, Client, connected, discovery, get

ONE = service("one", "10.96.0.10", "10.0.0.1")
POD = """
---
apiVersion: v1
kind: Pod
metadata: {{name: {0}, namespace: vm}}
spec: {{containers: [{{name: app, command: [sleep]}}]}}
status: {{phase: Running, podIP: {1}, podIPs: [{{ip: {1}}}]}}
"""
LOCAL = "sidecar~127.0.0.1~{}.vm~vm.svc.cluster.local"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mesh.yaml"
    save(path, ONE)
    return path


def ask(node_id: str = WEB, names: Iterable[str] = (), **more: Any) -> bytes:
    request = discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER, resource_names_subscribe=names, **more)
    if node_id:
        request.node.id = node_id
    body: bytes = request.SerializeToString()
    return body


@asynccontextmanager
async def stream(address: Address) -> AsyncIterator[Any]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(str(address), options=options) as channel:
        call = channel.stream_stream(METHOD + "DeltaAggregatedResources")()
        yield call
        call.cancel()


async def refusal(address: Address, *requests: bytes) -> tuple[grpc.StatusCode, str]:
    """How the stream ends."""
    return await asyncio.to_thread(_refusal, str(address), requests)


def _refusal(address: str, requests: Iterable[bytes]) -> tuple[grpc.StatusCode, str]:
    """In a thread, as gRPC's client for asyncio takes a write that the server did not wait for to be how it ended."""
    over = threading.Event()

    def ask_and_stay() -> Iterator[bytes]:
        yield from requests
        over.wait()

    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            for _ in channel.stream_stream(METHOD + "DeltaAggregatedResources")(ask_and_stay()):
                pass
        except grpc.RpcError as error:
            return error.code(), error.details()
        finally:
            over.set()
    return grpc.StatusCode.OK, ""


async def refused(made: DiscoveryServer, reason: str) -> float:
    """As its metrics say."""
    _, text = await get(made, "/metrics")
    return total(text, "pilotfish_xds_refused_streams_total", reason=reason)


async def problems(made: DiscoveryServer, reason: str) -> list[dict[str, Any]]:
    _, found = await get(made, "/api/problems")
    return [problem for problem in found if problem["reason"] == reason]


async def test_only_pods_are_served_and_from_their_own_addresses(file: Path) -> None:
    save(file, ONE + POD.format("web-0", "127.0.0.1") + POD.format("other-0", "10.0.0.9"))
    async with discovery(file, only_pods=True) as made:
        async with connected(made.xds, node_id=LOCAL.format("web-0")) as proxy:
            await proxy.until("all is there", lambda: "8000" in proxy.has[ROUTE])
        for node_id, said, reason in (
            (LOCAL.format("stranger-0"), "no pod stranger-0.vm is known here", "unknown"),
            ("sidecar~10.0.0.9~other-0.vm~vm.svc.cluster.local", "from its own address only", "address"),
            ("sidecar~10.0.0.9~web-0.vm~vm.svc.cluster.local", "10.0.0.9 is no address of web-0.vm's", "address"),
        ):
            before = await refused(made, reason)
            code, words = await refusal(made.xds, ask(node_id))
            assert code is grpc.StatusCode.PERMISSION_DENIED
            assert said in words
            assert await refused(made, reason) == before + 1
        assert (await get(made, "/debug/adsz"))[1]["totalClients"] == 0


async def test_a_pod_that_comes_before_its_news_waits_and_one_that_is_gone_is_ended(file: Path) -> None:
    async with discovery(file, only_pods=True) as made, connected(made.xds, node_id=LOCAL.format("web-0")) as proxy:
        await asyncio.sleep(0.1)  # it is at the door by now, or comes in a moment: both must do
        save(file, ONE + POD.format("web-0", "127.0.0.1"))
        await proxy.until("all is there", lambda: "8000" in proxy.has[ROUTE])
        save(file, ONE)
        await made.driver.moved.wait_for(lambda: not made.plane.roster.sessions, 5)
        assert not made.plane.roster.sessions


async def test_what_is_too_large_is_refused_and_nothing_of_it_stays(file: Path) -> None:
    many = [f"{n:x}" for n in range(70_000)]
    async with discovery(file) as made:
        for requests in (
            (ask(names=["x" * (5 << 20)]),),
            (ask(names=["x" * 2000]),),
            (ask(names=many),),
            (ask(names=many[:40_000]), ask(names=many[40_000:])),
            tuple(
                discovery_pb2.DeltaDiscoveryRequest(type_url=f"t{n}", node={"id": WEB}).SerializeToString()
                for n in range(20)
            ),
        ):
            before = await refused(made, "too-large")
            code, words = await refusal(made.xds, *requests)
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED, words
            assert "the most" in words or "longer than" in words
            assert await refused(made, "too-large") == before + 1
        assert not made.plane.roster.sessions


@pytest.mark.parametrize("node_id", [f"sidecar~10.0.0.1~{'a' * 2000}.vm~x", "sidecar~10.0.0.1~a\n.vm~x", "x" * 100_000])
async def test_a_node_id_that_is_none_is_refused_in_few_words(file: Path, node_id: str) -> None:
    async with discovery(file) as made:
        code, words = await refusal(made.xds, ask(node_id))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "is no proxy's" in words
        assert "\n" not in words
        assert len(words) < 300
        assert await refused(made, "malformed") == 1


async def test_streams_of_one_address_are_bounded_and_a_silent_one_ends(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MOST_OF_A_PEER", 3)
    monkeypatch.setattr(ads_server, "_FIRST_REQUEST", 1.0)
    async with discovery(file) as made:
        silent = [asyncio.create_task(refusal(made.xds)) for _ in range(5)]
        codes = [code for code, _ in await asyncio.gather(*silent)]
        assert sorted(code.name for code in codes) == ["DEADLINE_EXCEEDED"] * 3 + ["RESOURCE_EXHAUSTED"] * 2
        assert await refused(made, "too-many") == 2
        assert await refused(made, "silent") == 3
        async with connected(made.xds) as proxy:
            await proxy.until("there is room again", lambda: "8000" in proxy.has[ROUTE])


async def test_who_answers_nothing_delays_nobody_is_named_cut_off_and_kept_off(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "SLOW", 0.3)
    monkeypatch.setattr(patience, "LOST", 2.0)
    stalling = LOCAL.format("stalling-0")
    async with discovery(file) as made, connected(made.xds) as proxy:
        await proxy.until("all is there", lambda: "8000" in proxy.has[ROUTE])
        cut = asyncio.create_task(refusal(made.xds, ask(stalling)))
        await made.driver.moved.wait_for(lambda: bool(made.plane.roster.slow), 5)
        assert (await get(made, "/api/synced?wait=0"))[0] == 504
        began = time.perf_counter()
        save(file, ONE.replace("10.0.0.1", "10.0.0.99"))
        await proxy.until(
            "the change", lambda: any(b"10.0.0.99" in r.resource.value for r in proxy.has[ENDPOINT].values())
        )
        assert (await get(made, "/api/told?wait=5"))[0] == 200
        assert time.perf_counter() - began < 1
        assert "stalling-0.vm" in (await problems(made, "ProxySlow"))[0]["message"]
        code, words = await cut
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "stalling-0.vm did not acknowledge what it was sent" in words
        code, words = await refusal(made.xds, ask(stalling))
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "is not served for" in words
        assert "stalling-0.vm" in (await problems(made, "ProxyCutOff"))[0]["message"]
        assert (await get(made, "/api/told?proxies=2&wait=0"))[0] == 200, "who is kept off is not waited for"
        assert (await get(made, "/api/synced?proxies=1&wait=5"))[0] == 200


async def test_a_proxy_is_configured_once_it_has_taken_all_and_refused_nothing(file: Path) -> None:
    async with discovery(file) as made:
        assert (await get(made, f"/api/configured?proxyID={WEB}&wait=0"))[0] == 504
        async with connected(made.xds, Client(refuses=b"virtualOutbound")):
            await made.driver.moved.wait_for(lambda: bool(made.plane.quarantine.unexplained), 5)
            assert (await get(made, f"/api/configured?proxyID={WEB}&wait=0"))[0] == 504
        async with connected(made.xds) as proxy:
            assert (await get(made, f"/api/configured?proxyID={WEB}&wait=5"))[0] == 200
            assert "8000" in proxy.has[ROUTE]


async def test_a_proxy_of_another_replica_is_not_waited_for(file: Path) -> None:
    async with discovery(file) as made:
        made.plane.door.in_cluster = True
        began = time.perf_counter()
        assert (await get(made, f"/api/configured?proxyID={WEB}&wait=30"))[0] == 504
        assert time.perf_counter() - began < 5
        async with connected(made.xds, Client(refuses=b"virtualOutbound")):
            await made.driver.moved.wait_for(lambda: bool(made.plane.quarantine.unexplained), 5)
            asking = asyncio.create_task(get(made, f"/api/configured?proxyID={WEB}&wait=30"))
            assert not (await asyncio.wait((asking,), timeout=1))[0], "it is here, and may take it yet"
        assert (await asyncio.wait_for(asking, 5))[0] == 504


async def test_a_stranger_that_refuses_everything_rolls_nothing_back(file: Path) -> None:
    liar = Client(refuses=b"vm.svc")
    async with discovery(file) as made, connected(made.xds) as proxy:
        await proxy.until("all is there", lambda: "8000" in proxy.has[ROUTE])
        async with connected(made.xds, liar, LOCAL.format("liar-0")):
            await made.driver.moved.wait_for(lambda: bool(made.plane.quarantine.convicted), 5)
            save(file, ONE + service("two", "10.96.0.11", "10.0.0.1"))
            await proxy.until("the change", lambda: any("two.vm" in name for name in proxy.has[CLUSTER]))
            assert not made.plane.quarantine.rejected
            found = await problems(made, "RefusedByProxy")
            assert "proxy liar-0.vm refuses CDS" in found[0]["message"]
            assert found[0]["proxies"] == ["liar-0.vm"]
            assert (await get(made, "/api/synced?wait=0"))[0] == 504


async def test_abuse_leaves_no_traceback(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with discovery(file) as made:
        for body in (b"\xff" * 100, b"", ask(""), ask("x"), ask(names=["y" * 5_000_000]), b"\x00" * (20 << 20)):
            await refusal(made.xds, body)
        for _ in range(20):
            async with stream(made.xds) as call:
                await call.write(ask(LOCAL.format("brief-0")))
        for sent in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\x02\x00",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
        ):
            _, writer = await asyncio.open_connection(made.xds.host, made.xds.port)
            writer.write(sent)
            await writer.drain()
            writer.transport.abort()
            reader, writer = await asyncio.open_connection(made.monitoring.host, made.monitoring.port)
            writer.write(sent)
            assert b" 400 " in await asyncio.wait_for(reader.readline(), 5) or sent.startswith(b"GET")
            writer.transport.abort()
        holding = socket.create_connection((made.xds.host, made.xds.port))
        async with connected(made.xds) as proxy:
            await proxy.until("others are served", lambda: "8000" in proxy.has[ROUTE])
        holding.close()
    for record in caplog.records:
        assert record.exc_info is None, record.getMessage()
        assert record.levelno < logging.ERROR, record.getMessage()
        assert len(record.getMessage()) < 1000


async def test_who_asks_without_end_takes_a_small_share_of_discoverys_time(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent = 0.0
    receive = Driver.receive

    def measured(driver: Driver, session: ProxySession, request: Request) -> None:
        nonlocal spent
        began = time.monotonic()
        receive(driver, session, request)
        spent += time.monotonic() - began

    names = [f"outbound|80||of-{number}.example.com" for number in range(2_000)]
    more = discovery_pb2.DeltaDiscoveryRequest(type_url=ENDPOINT, resource_names_subscribe=names).SerializeToString()
    less = discovery_pb2.DeltaDiscoveryRequest(type_url=ENDPOINT, resource_names_unsubscribe=names).SerializeToString()
    over = threading.Event()

    def flood(address: str) -> None:
        def requests() -> Iterator[bytes]:
            yield ask("sidecar~10.0.0.2~flood-0.vm~vm.svc.cluster.local")
            while not over.is_set():
                yield from (more, less)

        options = [("grpc.use_local_subchannel_pool", 1)]
        with suppress(grpc.RpcError), grpc.insecure_channel(address, options=options) as channel:
            for _ in channel.stream_stream(METHOD + "DeltaAggregatedResources")(requests()):
                if over.is_set():
                    return

    async with discovery(file) as made, connected(made.xds) as proxy:
        await proxy.until("all is there", lambda: "8000" in proxy.has[ROUTE])
        monkeypatch.setattr(Driver, "receive", measured)
        began = time.monotonic()
        flooding = asyncio.create_task(asyncio.to_thread(flood, str(made.xds)))
        try:
            while time.monotonic() < began + 3 * SAVED:
                await asyncio.sleep(SAVED)
            save(file, ONE + "---\n" + service("two", "10.96.0.11", "10.0.0.2"))
            await proxy.until("the change is there", lambda: any("|two." in name for name in proxy.has[CLUSTER]))
            elapsed = time.monotonic() - began
        finally:
            over.set()
    await flooding
    assert spent < SAVED + elapsed * SHARE + 0.1, "seconds for which one stream kept it busy"
