"""Discovery in this process, over real sockets."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2

from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from pilotfish.runtime.discovery.address import Address
from pilotfish.runtime.discovery.serve import DiscoveryServer, Options
from pilotfish.runtime.errors import MachineError
from tests.manifests import save, service, virtual_service
from tests.runtime.discovery_client import METHOD, WEB, Client, connected, discovery, get

ONE = service("one", "10.96.0.10", "10.0.0.1")
TWO = service("two", "10.96.0.11", "10.0.0.1")
NAME = "outbound|8000||one.vm.svc.cluster.local"
LOOPBACK = Address("127.0.0.1", 0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mesh.yaml"
    save(path, ONE)
    return path


async def test_a_proxy_gets_all_and_then_what_changes(file: Path) -> None:
    async with discovery(file) as made, connected(made.xds) as proxy:
        await proxy.until("all is there", lambda: NAME in proxy.has[ENDPOINT] and "8000" in proxy.has[ROUTE])
        assert b"10.0.0.1" in proxy.has[ENDPOINT][NAME].resource.value
        assert "virtualOutbound" in proxy.has[LISTENER]
        clusters = dict(proxy.has[CLUSTER])
        received = proxy.received
        began = time.perf_counter()
        save(file, ONE.replace("10.0.0.1", "10.0.0.99"))
        await proxy.until("the new endpoint", lambda: b"10.0.0.99" in proxy.has[ENDPOINT][NAME].resource.value)
        assert time.perf_counter() - began < 1, "a saved file is live at once"
        assert proxy.received == received + 1, "nothing else was sent"
        assert proxy.has[CLUSTER] == clusters


async def test_a_proxy_that_reconnects_is_sent_nothing_that_it_has(file: Path) -> None:
    async with discovery(file) as made:
        async with connected(made.xds) as proxy:
            await proxy.until("all is there", lambda: "8000" in proxy.has[ROUTE])
        proxy.received = 0
        async with connected(made.xds, proxy):
            assert (await get(made, "/api/synced?resourceVersion=0&wait=5"))[0] == 200
            save(file, ONE.replace("10.0.0.1", "10.0.0.99"))
            await made.driver.moved.wait_for(lambda: made.plane.is_settled, 1)
        assert [r.name for r in proxy.has[CLUSTER].values()]


async def test_the_state_of_the_world_form(file: Path) -> None:
    async with discovery(file) as made, grpc.aio.insecure_channel(str(made.xds)) as channel:
        call = channel.stream_stream(METHOD + "StreamAggregatedResources")()
        request = discovery_pb2.DiscoveryRequest(type_url=CLUSTER)
        request.node.id = WEB
        await call.write(request.SerializeToString())
        response = discovery_pb2.DiscoveryResponse.FromString(await call.read())
        assert response.type_url == CLUSTER
        assert len(response.resources) >= 4
        call.cancel()


@pytest.mark.parametrize(
    ("node_id", "said"),
    [("ztunnel~10.0.0.1~z.vm~vm.svc.cluster.local", "no proxy"), ("web", "no proxy"), ("", "must carry the node")],
)
async def test_who_is_no_proxy_is_told_so(file: Path, node_id: str, said: str) -> None:
    async with discovery(file) as made, grpc.aio.insecure_channel(str(made.xds)) as channel:
        call = channel.stream_stream(METHOD + "DeltaAggregatedResources")()
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER)
        request.node.id = node_id
        await call.write(request.SerializeToString())
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await call.read()
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert said in str(error.value.details())


async def test_bytes_that_are_no_request_end_their_own_stream_only(file: Path) -> None:
    async with discovery(file) as made, connected(made.xds) as proxy:
        async with grpc.aio.insecure_channel(str(made.xds)) as channel:
            call = channel.stream_stream(METHOD + "DeltaAggregatedResources")()
            await call.write(b"\xff\xff\xff")
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call.read()
            assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        await proxy.until("all is there", lambda: "8000" in proxy.has[ROUTE])


async def test_a_broken_object_keeps_its_last_good_form_and_a_vanished_file_takes_its_objects_along(
    tmp_path: Path,
) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    save(one, ONE)
    save(two, TWO)
    other = NAME.replace("one", "two")
    async with discovery(tmp_path) as made, connected(made.xds) as proxy:
        await proxy.until("both are there", lambda: NAME in proxy.has[CLUSTER] and other in proxy.has[CLUSTER])
        save(one, ONE.replace("ports: [{name: http, port: 8000}]}", "ports: many}", 1))
        two.unlink()
        await proxy.until("the other is gone", lambda: other not in proxy.has[CLUSTER])
        assert NAME in proxy.has[CLUSTER]
        _, problems = await get(made, "/api/problems")
        broken = [p for p in problems if p["severity"] == "error"]
        assert [(p["kind"], p["name"]) for p in broken] == [("Service", "one")]
        assert broken[0]["source"].startswith(str(one))


async def test_the_mesh_configuration_is_followed(file: Path, tmp_path: Path) -> None:
    config = tmp_path / "mesh-config.txt"
    async with discovery(file, mesh_config=config) as made, connected(made.xds) as proxy:
        await proxy.until("there is a route", lambda: "8000" in proxy.has[ROUTE])
        assert b"block_all" not in proxy.has[ROUTE]["8000"].resource.value
        save(config, "outboundTrafficPolicy: {mode: REGISTRY_ONLY}")
        await proxy.until("others are blocked", lambda: b"block_all" in proxy.has[ROUTE]["8000"].resource.value)
        save(config, "outboundTrafficPolicy: {mode: SOMETIMES}")
        await made.driver.moved.wait_for(lambda: bool(made.plane.mesh.desired.problems), 5)
        assert b"block_all" in proxy.has[ROUTE]["8000"].resource.value


async def test_quarantine_is_over_when_the_object_is_mended(file: Path) -> None:
    rule = virtual_service("one", "{prefix: /PATH}")
    save(file, ONE + rule)
    async with discovery(file) as made, connected(made.xds, Client(refuses=b"/poison")) as proxy:
        await proxy.until("there is a route", lambda: b"/PATH" in proxy.route())
        await made.driver.moved.wait_for(lambda: made.plane.is_settled, 5)
        save(file, ONE + TWO + rule.replace("PATH", "poison"))
        await proxy.until("the new service is known", lambda: b"two.vm" in proxy.route())
        assert b"/PATH" in proxy.route(), "the last good form is in force"
        await made.driver.moved.wait_for(lambda: made.plane.is_settled, 5)
        problem = (await get(made, "/api/problems"))[1][0]
        assert (problem["reason"], problem["kind"], problem["name"]) == ("RefusedByEnvoy", "VirtualService", "one")
        assert problem["proxies"] == ["web-0.vm"]
        assert (await get(made, "/api/syncs"))[1][0]["types"]["rds"] == "REFUSED"
        assert (await get(made, "/api/synced?resourceVersion=0&wait=2"))[0] == 200
        save(file, ONE + TWO + rule.replace("PATH", "mended"))
        await proxy.until("the mended form is in force", lambda: b"/mended" in proxy.route())
        await made.driver.moved.wait_for(lambda: made.plane.is_settled, 5)
        assert "RefusedByEnvoy" not in str(await get(made, "/api/problems"))


async def test_names_are_told_when_they_change(file: Path) -> None:
    async with discovery(file) as made:
        _, table = await get(made, f"/api/names?proxyID={WEB}")
        assert table["records"]["one.vm.svc.cluster.local"] == ["10.96.0.10"]
        unchanged = f"/api/names?proxyID={WEB}&version={table['version']}"
        assert (await get(made, unchanged + "&wait=0.05"))[0] == 304
        asked = asyncio.create_task(get(made, unchanged + "&wait=10"))
        save(file, ONE + TWO)
        status, table = await asked
        assert status == 200
        assert table["records"]["two.vm.svc.cluster.local"] == ["10.96.0.11"]


async def test_synced_waits_for_a_version_and_for_the_proxies(tmp_path: Path) -> None:
    path = tmp_path / "objects.json"
    text = '{"apiVersion":"v1","kind":"List","metadata":{"resourceVersion":"%d"},"items":[]}'
    save(path, text % 4)
    async with discovery(path) as made:
        assert (await get(made, "/api/synced?resourceVersion=4"))[0] == 200
        assert (await get(made, "/api/synced?resourceVersion=5&wait=0.05"))[0] == 504
        asked = asyncio.create_task(get(made, "/api/synced?resourceVersion=5&wait=10"))
        save(path, text % 5)
        assert (await asked)[0] == 200
        assert (await get(made, "/api/synced?resourceVersion=x"))[0] == 400
        assert (await get(made, f"/api/synced?resourceVersion={'9' * 5000}"))[0] == 400
        assert (await get(made, "/api/synced?resourceVersion=5&proxies=1"))[0] == 504, "nobody is connected"


async def test_debug_pages(file: Path) -> None:
    async with discovery(file) as made, connected(made.xds) as proxy:
        await proxy.until("all is there", lambda: NAME in proxy.has[ENDPOINT])
        assert (await get(made, "/ready"))[0] == 200
        for folder in ("/debug", "/api"):
            _, listing = await get(made, folder)
            for line in listing.splitlines():
                path = line.split()[0] + "?proxyID=web-0.vm&wait=5"  # until it has acknowledged all
                status, _ = await get(made, path)
                assert status == 200, path
        _, adsz = await get(made, "/debug/adsz")
        assert adsz["totalClients"] == 1
        assert adsz["clients"][0]["nodeId"] == WEB
        _, dump = await get(made, "/debug/config_dump?proxyID=web-0.vm")
        assert [c["@type"].rpartition(".")[2] for c in dump["configs"]] == [
            "ClustersConfigDump",
            "EndpointsConfigDump",
            "SecretsConfigDump",
            "ListenersConfigDump",
            "RoutesConfigDump",
        ]
        _, metrics = await get(made, "/metrics")
        assert "pilot_xds 1.0" in metrics
        assert 'pilot_xds_pushes_total{type="cds"} 1.0' in metrics
        assert (await get(made, "/debug/config_dump?proxyID=nobody.vm"))[0] == 404
        assert (await get(made, "/debug/config_dump"))[0] == 400


async def test_what_only_a_proxy_that_left_needed_is_forgotten(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotfish.runtime.discovery.driver._COLLECT_AFTER", 0.0)
    async with discovery(file) as made:
        async with connected(made.xds) as proxy:
            await proxy.until("all is there", lambda: "8000" in proxy.has[ROUTE])
            size = len(made.plane.mesh.graph)
        assert await made.driver.moved.wait_for(lambda: not made.plane.roster.sessions, 5)
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            while len(made.plane.mesh.graph) >= size:
                await asyncio.sleep(0)


async def test_a_taken_port_is_said(file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(MachineError, match=r"--xds-address .* another process listens there"):
            async with DiscoveryServer(Options((file,), address, LOOPBACK)):
                pass
        with pytest.raises(MachineError, match=r"--monitoring-address .* another process listens there"):
            async with DiscoveryServer(Options((file,), LOOPBACK, address)):
                pass


async def test_plaintext_for_others_must_be_asked_for(file: Path) -> None:
    for options in (
        Options((file,), Address.parse("0.0.0.0:0"), LOOPBACK),
        Options((file,), LOOPBACK, Address.parse("[::]:0")),
    ):
        with pytest.raises(MachineError, match="--allow-plaintext"):
            options.check()
    Options((file,), Address.parse(":0"), LOOPBACK, allow_plaintext=True).check()


async def test_a_configuration_that_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="does not exist"):
        async with DiscoveryServer(Options((tmp_path / "nothing",), LOOPBACK, LOOPBACK)):
            pass


@pytest.mark.parametrize(
    ("text", "host", "port", "loopback"),
    [
        ("127.0.0.1:15010", "127.0.0.1", 15010, True),
        ("[::1]:80", "::1", 80, True),
        ("localhost:1", "localhost", 1, True),
        (":15010", "", 15010, False),
        ("10.0.0.1:0", "10.0.0.1", 0, False),
        ("discovery:1", "discovery", 1, False),
    ],
)
def test_addresses(text: str, host: str, port: int, loopback: bool) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, address.is_loopback) == (host, port, loopback)


@pytest.mark.parametrize("text", ["15010", "host", "host:x", "host:70000", ""])
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        Address.parse(text)
