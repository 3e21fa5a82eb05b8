"""Planned restarts with real Envoys: another takes over, and no request fails."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pilotfish.agent.readiness import parse_stats
from pilotfish.config.mesh import ProxyConfig
from pilotfish.model import Proxy
from pilotfish.runtime.agent import Agent, AgentError, AgentSpec
from pilotfish.runtime.linux.netns import NetNs
from tests.runtime.agent_world import APP, LISTENER, Discovery, changed, discovery_in, listener, now, running
from tests.waiting import until

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.timeout(60),
]
BENCH = Path(__file__).parents[2] / "bench"
SHARED = Path("/dev/shm")
RATE = 100


@pytest.fixture
def spec(netns: NetNs, tmp_path: Path) -> AgentSpec:
    """Of an Envoy that may enter other namespaces: root."""
    return AgentSpec(
        proxy=Proxy.of_pod("webapp-0", "vm", ("127.0.0.1",)),
        netns=netns,
        directory=tmp_path / "webapp",
        discovery="127.0.0.1:15010",
        monitoring="",
        log=tmp_path / "istio-proxy.log",
        proxy_config=ProxyConfig(concurrency=1),
        takes_over=True,
        user=None,
    )


@pytest.fixture
async def discovery(netns: NetNs) -> AsyncIterator[Discovery]:
    async with discovery_in(netns) as discovery:
        yield discovery


@pytest.fixture
async def app(netns: NetNs) -> AsyncIterator[None]:
    async with program(netns, "http_server.py", str(APP)):
        yield


@pytest.fixture
def pods() -> Iterator[list[NetNs]]:
    """Namespaces in which there is nothing but the listeners of an Envoy that is elsewhere."""
    with ExitStack() as stack:
        made = []
        for number in range(3):
            namespace = NetNs.create(f"pftest-restart-{os.getpid()}-{number}")
            stack.callback(namespace.delete)
            made.append(namespace)
        yield made


@asynccontextmanager
async def program(netns: NetNs, name: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """One of bench/, in a namespace. It is ended with its input."""
    command = ("ip", "netns", "exec", netns.path.name, sys.executable, "-S", "-E", str(BENCH / name), *arguments)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate(b"")


@asynccontextmanager
async def load(places: list[tuple[NetNs, int]]) -> AsyncIterator[list[dict[str, Any]]]:
    """Requests to each of these ports, over connections kept and fresh, for as long as the block lasts. What is yielded
    then holds what became of them."""
    found: list[dict[str, Any]] = []
    async with AsyncExitStack() as stack:
        asking = [
            await stack.enter_async_context(
                program(netns, "http_steady.py", "127.0.0.1", str(port), str(RATE), "-", mode)
            )
            for netns, port in places
            for mode in ("kept", "fresh")
        ]
        yield found
        found += [json.loads((await each.communicate(b""))[0]) for each in asking]


async def ended(pid: int | None) -> None:
    await until(f"process {pid} has ended", lambda: pid is not None and not Path(f"/proc/{pid}").exists(), within=20)


async def answers(netns: NetNs) -> bool:
    """Whether ten requests in a row do."""
    async with program(netns, "http_steady.py", "127.0.0.1", "15006", "100", "0.1", "fresh") as asking:
        said, _ = await asking.communicate(b"")
    return bool(json.loads(said)["lost"] == {})


async def test_no_request_fails_in_any_namespace(
    spec: AgentSpec, discovery: Discovery, app: None, netns: NetNs, pods: list[NetNs]
) -> None:
    """Listeners of one address in several namespaces: each socket has to end up where it was."""
    discovery.resources[LISTENER] += [
        listener(f"virtualInbound~{pod.path.name}", 15006, "INBOUND", "inbound", pod) for pod in pods
    ]
    async with running(spec) as agent:
        await agent.wait_ready()
        async with load([(each, 15006) for each in (netns, *pods)]) as found:
            for restarts in (1, 2):
                await asyncio.sleep(0.5)
                before = agent.pid
                await agent.restart()
                assert agent.pid != before
                assert (agent.ready, agent.restarts) == (True, restarts)
                with pytest.raises(AgentError, match=r"still ends its connections, for 6. s at the most"):
                    await agent.restart()
                await ended(before)
        assert [each["lost"] for each in found] == [{}] * 8
        assert not any(each["requests"] < RATE for each in found)


async def test_nothing_of_it_is_left_on_the_machine(spec: AgentSpec, discovery: Discovery) -> None:
    shared = set(SHARED.iterdir())
    async with running(spec) as agent:
        await agent.wait_ready()
        await agent.restart()
        assert set(SHARED.iterdir()) == shared
    assert not any((spec.directory / "lines").iterdir())


async def test_what_the_one_before_still_says_is_in_the_same_log(spec: AgentSpec, discovery: Discovery) -> None:
    assert spec.log is not None
    async with running(replace(spec, log_level="info")) as agent:
        await agent.wait_ready()
        before = agent.pid
        await agent.restart()
        await ended(before)
    assert spec.log.read_text().count("starting main dispatch loop") == 2
    assert not spec.log.with_name(f"{spec.log.name}.1").exists()


async def test_while_discovery_is_away_the_old_one_goes_on_whatever_becomes_of_the_new_one(
    spec: AgentSpec, discovery: Discovery, app: None, netns: NetNs
) -> None:
    """The new one waits for its configuration, and the old one can't be asked any more. There is another try soon."""
    async with running(spec) as agent:
        await agent.wait_ready()
        before = agent.pid
        restart, new = await restarting(agent, discovery, netns)
        await until("the old one's admin port is closed", lambda: is_muted(agent))
        assert await answers(netns)
        os.kill(new, signal.SIGKILL)
        with pytest.raises(AgentError, match=r"took over from that of webapp-0\.vm: Envoy ended by SIGKILL"):
            await restart
        assert (agent.ready, agent.pid) == (True, before)
        assert await answers(netns)
        discovery.answer.set()
        await changed(agent, lambda status: status.pid != before)
        assert agent.ready
        assert await answers(netns)


async def test_when_the_old_one_is_killed_who_connects_waits_for_a_fresh_one(
    spec: AgentSpec, discovery: Discovery, app: None, netns: NetNs
) -> None:
    async with running(spec) as agent:
        await agent.wait_ready()
        before = agent.pid
        assert before is not None
        restart, new = await restarting(agent, discovery, netns)
        discovery.answer.set()
        os.kill(before, signal.SIGKILL)
        with pytest.raises(AgentError, match="the one that it was to take over from ended: Envoy ended by SIGKILL"):
            await restart
        await ended(new)
        assert await answers(netns)
        await agent.wait_ready()
        assert agent.pid not in (before, new)


async def test_one_that_took_over_and_is_killed_costs_what_was_under_way_alone(
    spec: AgentSpec, discovery: Discovery, app: None, netns: NetNs
) -> None:
    async with running(spec) as agent:
        await agent.wait_ready()
        await agent.restart()
        assert agent.pid is not None
        os.kill(agent.pid, signal.SIGKILL)
        assert await answers(netns)
        assert agent.ready


async def test_one_that_took_over_does_not_miss_the_one_before(
    spec: AgentSpec, discovery: Discovery, app: None, netns: NetNs
) -> None:
    """Envoy asks it for its statistics each five seconds, and aborts where it has no answer for ten."""
    async with running(spec) as agent:
        await agent.wait_ready()
        before = agent.pid
        assert before is not None
        await agent.restart()
        os.kill(before, signal.SIGKILL)
        pid, then = agent.pid, await ask(agent, "server.uptime")
        await until("it asked twice", lambda: has_passed(agent, "server.uptime", then + 9), within=20)
        assert (agent.ready, agent.pid) == (True, pid)
        assert await answers(netns)
        await agent.restart()
        assert agent.pid != pid
        assert await answers(netns)


async def test_a_pod_that_ends_meanwhile_leaves_nobody(spec: AgentSpec, discovery: Discovery, netns: NetNs) -> None:
    async with running(spec) as agent:
        await agent.wait_ready()
        before = agent.pid
        restart, new = await restarting(agent, discovery, netns)
        await agent.stop(now() + 5)
        with pytest.raises(AgentError):
            await restart
    assert set(netns.pids()).isdisjoint({before, new})


async def test_an_agent_that_may_not_mount_says_so(spec: AgentSpec, discovery: Discovery) -> None:
    async with running(replace(spec, takes_over=False)) as agent:
        await agent.wait_ready()
        with pytest.raises(AgentError, match="restart its pod"):
            await agent.restart()


async def restarting(agent: Agent, discovery: Discovery, netns: NetNs) -> tuple[asyncio.Task[None], int]:
    """A restart that can't come to its end, as discovery does not answer, and the pid of the Envoy that is to take
    over."""
    before = agent.pid
    discovery.answer.clear()
    restart = asyncio.create_task(agent.restart())
    return restart, await another(netns, before)


async def another(netns: NetNs, but: int | None) -> int:
    """The pid of the Envoy that starts beside that one."""

    def find() -> int | None:
        envoys = {pid for pid in netns.pids() if is_envoy(pid)}
        return next(iter(envoys - {but}), None)

    found: int = await until("another Envoy starts", find)
    return found


def is_envoy(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name == "envoy"
    except OSError:
        return False


async def is_muted(agent: Agent) -> bool:
    """Whether the first Envoy is not the one that answers on the admin port any more."""
    try:
        return await ask(agent, "server.hot_restart_epoch") != 0
    except OSError:
        return False


async def has_passed(agent: Agent, stat: str, value: int) -> bool:
    return await ask(agent, stat) >= value


async def ask(agent: Agent, stat: str) -> int:
    answer = await agent.admin.request("GET", f"/stats?filter=^{stat}$")
    return parse_stats(answer.body.decode())[stat]
