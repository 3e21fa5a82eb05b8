"""Agents with a real Envoy, each in a namespace of its own, and a discovery of a few lines."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from pilotfish.agent.metrics import ScrapeTarget
from pilotfish.agent.readiness import parse_stats
from pilotfish.config.mesh import ProxyConfig, ProxyStatsMatcher
from pilotfish.model import Duration, Proxy
from pilotfish.runtime.agent import Agent, AgentError, AgentHost, AgentSpec
from pilotfish.runtime.agent.envoy import find_envoy, may_execute
from pilotfish.runtime.agent.sockets import listen, open_socket
from pilotfish.runtime.closing import stop_serving
from pilotfish.runtime.linux.command import run
from pilotfish.runtime.linux.netns import NetNs
from tests.runtime.agent_world import APP, Discovery, changed, discovery_in, now, running

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.timeout(30),
]


@pytest.fixture
async def discovery(netns: NetNs) -> AsyncIterator[Discovery]:
    async with discovery_in(netns) as discovery:
        yield discovery


@pytest.fixture
def spec(netns: NetNs, tmp_path: Path) -> AgentSpec:
    return AgentSpec(
        proxy=Proxy.of_pod("webapp-0", "vm", ("127.0.0.1",), labels={"app": "webapp"}),
        netns=netns,
        directory=tmp_path / "webapp",
        discovery="127.0.0.1:15010",
        monitoring="",
        log=tmp_path / "istio-proxy.log",
        proxy_config=ProxyConfig(concurrency=1),
    )


class App:
    """An HTTP server in the namespace that answers a request to `/slow` only when told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        if request.path == "/slow":
            self.asked.set()
            await self.answer.wait()
        if request.path == "/metrics":
            return web.Response(text="app_requests_total 3\n# EOF\n")
        return web.Response(text="done")


@pytest.fixture
async def app(netns: NetNs) -> AsyncIterator[App]:
    app = App()
    server = web.Server(app.handle)
    listener = await asyncio.get_running_loop().create_server(server, sock=listen(netns, "127.0.0.1", APP))
    try:
        yield app
    finally:
        await stop_serving(listener)
        server.pre_shutdown()
        await server.shutdown(1)


@pytest.fixture
async def client(netns: NetNs) -> AsyncIterator[aiohttp.ClientSession]:
    """HTTP from inside the namespace."""
    connector = aiohttp.TCPConnector(socket_factory=lambda address: open_socket(netns, address[0], address[1]))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


async def get(client: aiohttp.ClientSession, url: str) -> tuple[int, str]:
    async with client.get(f"http://127.0.0.1:{url}") as response:
        return response.status, await response.text()


async def test_ready_only_after_the_first_configuration(
    spec: AgentSpec, discovery: Discovery, client: aiohttp.ClientSession
) -> None:
    discovery.answer.clear()
    async with running(spec) as agent:
        status = await changed(agent, lambda status: "discovery has not sent clusters" in status.message)
        assert (status.state, status.ready) == ("running", False)
        assert await get(client, "15020/healthz/ready") == (503, "not ready: discovery has not sent clusters yet\n")
        discovery.answer.set()
        await agent.wait_ready()
        assert (await get(client, "15020/healthz/ready"))[0] == 200
        # Envoy's own port for load balancers asks the agent.
        assert (await get(client, "15021/healthz/ready"))[0] == 200


async def test_readiness_waits_for_names(spec: AgentSpec, discovery: Discovery) -> None:
    """An app that starts before its agent has names would be told that its peers do not exist."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monitoring = f"127.0.0.1:{silent.getsockname()[1]}"
        async with running(replace(spec, monitoring=monitoring)) as agent:
            status = await changed(agent, lambda status: "no names yet" in status.message)
            assert not status.ready


async def test_readiness_waits_until_all_of_the_first_configuration_is_taken(
    spec: AgentSpec, discovery: Discovery
) -> None:
    """Envoy counts a first answer that it refused in part as an answer; only discovery knows what became of it."""
    taken = asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/api/names":
            return web.json_response({"version": "1", "records": {}}, status=304 if request.query["version"] else 200)
        assert request.query["proxyID"] == spec.proxy.id
        await taken.wait()
        return web.json_response(True)

    listener = socket.create_server(("127.0.0.1", 0))
    served = web.Server(answer)
    server = await asyncio.get_running_loop().create_server(served, sock=listener)
    try:
        monitoring = f"127.0.0.1:{listener.getsockname()[1]}"
        async with running(replace(spec, monitoring=monitoring)) as agent:
            status = await changed(agent, lambda status: "not taken all of its first" in status.message)
            assert not status.ready
            taken.set()
            await agent.wait_ready()
    finally:
        await stop_serving(server)
        served.pre_shutdown()
        await served.shutdown(1)


async def test_killed_envoy_is_back_within_a_second(spec: AgentSpec, discovery: Discovery, app: App) -> None:
    async with running(spec) as agent:
        await agent.wait_ready()
        first = agent.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        status = await changed(agent, lambda status: status.pid not in (None, first) and status.ready, within=1)
        assert (status.restarts, status.epoch, status.exit_code) == (1, 1, -signal.SIGKILL)
        assert status.revision == 0, "the same bootstrap"


async def test_who_connects_while_envoy_is_away_is_answered_by_the_next(
    spec: AgentSpec, discovery: Discovery, app: App, client: aiohttp.ClientSession
) -> None:
    async with running(spec) as agent:
        await agent.wait_ready()
        assert agent.pid is not None
        os.kill(agent.pid, signal.SIGKILL)
        await changed(agent, lambda status: status.pid is None)
        assert agent.ready, "it is so soon back that nobody need know"
        waiting = [asyncio.create_task(get(client, f"{port}/")) for port in (15001, 15006) for _ in range(20)]
        assert set(await asyncio.gather(*waiting)) == {(200, "done")}


async def test_nobody_waits_for_an_envoy_that_does_not_come_back(
    spec: AgentSpec, discovery: Discovery, app: App, client: aiohttp.ClientSession
) -> None:
    """Its discovery is gone, too: it starts, and listens on nothing."""
    async with running(spec) as agent:
        await agent.wait_ready()
        discovery.answer.clear()
        assert agent.pid is not None
        os.kill(agent.pid, signal.SIGKILL)
        await changed(agent, lambda status: status.pid is None)
        began = now()
        with pytest.raises(aiohttp.ClientError):
            await get(client, "15006/")
        assert now() - began < 1.5
        await changed(agent, lambda status: not status.ready)
        with pytest.raises(aiohttp.ClientConnectorError):
            await get(client, "15006/")
        discovery.answer.set()
        await agent.wait_ready()
        assert await get(client, "15006/") == (200, "done")


async def test_however_long_discovery_is_away_it_is_looked_for_every_second(spec: AgentSpec) -> None:
    """Eight times take Envoy itself, which waits ever longer, most of a minute."""
    async with running(spec) as agent:
        await changed(agent, lambda status: "discovery has not sent" in status.message)
        failures = 0
        async with asyncio.timeout(10):
            while failures < 8:
                answer = await agent.admin.request("GET", "/stats?filter=^cluster.xds-grpc.upstream_cx_connect_fail$")
                failures = sum(parse_stats(answer.body.decode()).values())
                await asyncio.sleep(0.1)


async def test_an_envoy_that_can_not_run_is_a_crash_loop(spec: AgentSpec) -> None:
    matcher = ProxyStatsMatcher(inclusion_regexps=("[",))
    bad = replace(spec, proxy_config=ProxyConfig(concurrency=1, proxy_stats_matcher=matcher))
    async with running(bad) as agent:
        status = await changed(agent, lambda status: status.reason == "CrashLoopBackOff")
        assert (status.state, status.ready, status.exit_code) == ("waiting", False, 1)
        assert f"its last words are in {spec.log}" in status.message
        assert spec.log is not None
        assert "missing ]" in spec.log.read_text()
        status = await changed(agent, lambda status: status.restarts > 1)


async def test_envoy_has_a_user_of_its_own_and_no_capability(spec: AgentSpec, discovery: Discovery) -> None:
    async with running(spec) as agent:
        await agent.wait_ready()
        text = Path(f"/proc/{agent.pid}/status").read_text()
        fields = {key: value.split() for key, _, value in (line.partition(":") for line in text.splitlines())}
        assert fields["Uid"] == fields["Gid"] == ["1337"] * 4
        assert fields["Groups"] == []
        assert [fields[name] for name in ("CapPrm", "CapEff", "CapBnd", "NoNewPrivs")] == [["0" * 16]] * 3 + [["1"]]


async def test_envoy_where_its_user_can_not_walk_to(spec: AgentSpec, discovery: Discovery, tmp_path: Path) -> None:
    """A virtual environment and a mesh's directory below a home of mode 0700."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    hidden = home / "envoy"
    try:
        os.link(find_envoy(), hidden)
    except OSError:
        shutil.copy2(find_envoy(), hidden)
    assert not may_execute(hidden, 1337, 1337)
    async with AgentHost() as host:
        host.envoy = hidden
        agent = Agent(replace(spec, directory=home / "webapp"), host)
        await agent.start()
        try:
            await asyncio.wait_for(agent.wait_ready(), 10)
        finally:
            await agent.stop(now() + 2)
            hidden.unlink()


async def test_a_changed_bootstrap_is_a_new_revision(spec: AgentSpec, discovery: Discovery) -> None:
    changed_spec = replace(spec, metadata={"MESH_ID": "other"})
    for one, revision in ((spec, 0), (spec, 0), (changed_spec, 1)):
        async with running(one) as agent:
            await agent.wait_ready()
            assert agent.status.revision == revision
    assert sorted(path.name for path in spec.directory.iterdir()) == ["envoy-rev0.json", "envoy-rev1.json"]


async def test_drain_lets_a_request_finish(
    spec: AgentSpec, discovery: Discovery, app: App, client: aiohttp.ClientSession
) -> None:
    async with running(spec) as agent:
        await agent.wait_ready()
        request = asyncio.create_task(get(client, "15006/slow"))
        await app.asked.wait()
        drain = asyncio.create_task(agent.drain(now() + 20))
        await changed(agent, lambda status: status.reason == "Draining")
        assert (await get(client, "15020/healthz/ready"))[0] == 503
        await asyncio.sleep(0.3)
        assert not drain.done()
        assert (await get(client, "15001/"))[1] == "done", "outbound traffic still works"
        app.answer.set()
        assert await request == (200, "done")
        await asyncio.wait_for(drain, 1)
        assert agent.pid is not None


async def test_drain_gives_up_in_time(
    spec: AgentSpec, discovery: Discovery, app: App, client: aiohttp.ClientSession
) -> None:
    config = ProxyConfig(concurrency=1, termination_drain_duration=Duration(200_000_000))
    async with running(replace(spec, proxy_config=config)) as agent:
        await agent.wait_ready()
        request = asyncio.create_task(get(client, "15006/slow"))
        await app.asked.wait()
        began = now()
        await agent.drain(began + 5)
        await agent.stop(began + 5)
        assert 0.2 <= now() - began < 1
        assert agent.status.state == "terminated"
        with pytest.raises(aiohttp.ClientError):
            await request


async def test_whoever_keeps_a_connection_may_ask_once_more(
    spec: AgentSpec, discovery: Discovery, app: App, client: aiohttp.ClientSession
) -> None:
    """A client from outside does not know that the pod leaves, before an answer tells it to close."""
    async with running(spec) as agent:
        await agent.wait_ready()
        assert await get(client, "15006/") == (200, "done")
        drain = asyncio.create_task(agent.drain(now() + 20))
        await changed(agent, lambda status: status.reason == "Draining")
        await asyncio.sleep(0.3)
        assert not drain.done()
        assert await get(client, "15006/") == (200, "done")
        await asyncio.wait_for(drain, 1)


@pytest.mark.parametrize("port", [15020, 15053, 15054, 15000, 15001, 15006, 15090])
async def test_a_taken_port_is_named(spec: AgentSpec, netns: NetNs, port: int) -> None:
    with listen(netns, "127.0.0.1", port):
        async with AgentHost() as host:
            agent = Agent(spec, host)
            with pytest.raises(AgentError, match=f"port {port} is taken.*ss -lntup"):
                await agent.start()
            await agent.stop(now())
    listen(netns, "::", 15020).close()


async def test_a_missing_envoy_names_its_package(spec: AgentSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotfish.runtime.agent.envoy._DISTRIBUTION", "envoy-that-is-not-there")
    async with AgentHost() as host:
        with pytest.raises(AgentError, match=r"Envoy is missing.*pip install envoy-that-is-not-there"):
            await Agent(spec, host).start()


async def test_metrics_of_agent_envoy_and_app_are_one_page(
    spec: AgentSpec, discovery: Discovery, app: App, client: aiohttp.ClientSession
) -> None:
    async with running(replace(spec, prometheus=ScrapeTarget(APP))) as agent:
        await agent.wait_ready()
        status, page = await get(client, "15020/stats/prometheus")
        assert status == 200
        assert "pilotfish_agent_ready 1\n" in page
        assert "envoy_server_live" in page
        assert page.endswith("app_requests_total 3\n")
    async with running(replace(spec, prometheus=ScrapeTarget(1))) as agent:
        await agent.wait_ready()
        _, page = await get(client, "15020/stats/prometheus")
        assert 'istio_agent_scrape_failures_total{type="application"} 1\n' in page


async def test_quitquitquit(spec: AgentSpec, discovery: Discovery, client: aiohttp.ClientSession) -> None:
    async with running(spec) as agent:
        await agent.wait_ready()
        assert (await get(client, "15020/quitquitquit"))[0] == 405
        assert (await get(client, "15020/elsewhere"))[0] == 404
        async with client.post("http://127.0.0.1:15020/quitquitquit") as response:
            assert response.status == 200
        await asyncio.wait_for(agent.wait_stopped(), 5)
        assert (agent.status.state, agent.status.reason) == ("terminated", "Completed")


async def test_quitquitquit_from_elsewhere(
    spec: AgentSpec, discovery: Discovery, netns: NetNs, client: aiohttp.ClientSession
) -> None:
    await run(["ip", "address", "add", "10.9.9.9/32", "dev", "lo"], netns=netns)
    async with running(spec) as agent, client.post("http://10.9.9.9:15020/quitquitquit") as response:
        assert response.status == 403
        assert agent.status.reason == ""


async def test_agents_of_one_process_do_not_disturb_each_other(
    spec: AgentSpec, discovery: Discovery, other_netns: NetNs
) -> None:
    """The other namespace's Envoy has no discovery, and is killed."""
    async with AgentHost() as host:
        agents = [
            Agent(spec, host),
            Agent(replace(spec, netns=other_netns, directory=spec.directory / "other", log=None), host),
        ]
        for agent in agents:
            await agent.start()
        await agents[0].wait_ready()
        status = await changed(agents[1], lambda status: "discovery" in status.message)
        assert status.pid is not None
        os.kill(status.pid, signal.SIGKILL)
        await changed(agents[1], lambda status: status.restarts == 1)
        assert agents[0].ready
        assert agents[0].restarts == 0
        await asyncio.gather(*(agent.stop(now() + 2) for agent in agents))
    assert other_netns.pids() == ()


async def test_envoy_s_admin_is_asked_in_its_namespace(spec: AgentSpec, discovery: Discovery) -> None:
    async with running(spec) as agent:
        await agent.wait_ready()
        response = await agent.admin.request("GET", "/config_dump?resource=dynamic_listeners")
        names = [config["name"] for config in json.loads(response.body)["configs"]]
        assert names == ["virtualOutbound", "virtualInbound"]
    with pytest.raises(OSError):
        await agent.admin.request("GET", "/ready")
