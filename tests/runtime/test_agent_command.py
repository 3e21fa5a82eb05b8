"""`pilotfish agent` as a process of its own, with and without root."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pilotfish.runtime.agent.envoy import may_execute
from pilotfish.runtime.agent.sockets import listen
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.process import PIPE, Process, ProcessSpec, start

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.timeout(30),
]

PACKAGES = os.pathsep.join(path for path in sys.path if path)


def interpreter(uid: int) -> str:
    """This Python, or the machine's if `uid` can't walk to this one. The test is skipped if there is none."""
    for path in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        if Path(path).exists() and may_execute(Path(path), uid, uid):
            return path
    pytest.skip(f"there is no Python {sys.version_info.minor} that uid {uid} may execute")


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where every user may walk to, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="pf-test-agent-"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


@asynccontextmanager
async def command(
    netns: NetNs, directory: Path, *more: str, uid: int = 0, cwd: Path = Path("/")
) -> AsyncIterator[Process]:
    """No discovery is there: Envoy runs and waits for it."""
    program = (interpreter(uid), "-c", "from pilotfish.cli import main; main()", "agent")
    arguments = ("--pod", "webapp-0", "-n", "vm", "--ip", "127.0.0.1", "--discovery-address", "127.0.0.1:15010")
    process = await start(
        ProcessSpec(
            argv=(*program, *arguments, "--monitoring-address", "", "--directory", str(directory), *more),
            env={"PATH": os.defpath, "PYTHONPATH": PACKAGES, "ISTIO_META_MESH_ID": "m"},
            cwd=str(cwd),
            uid=uid,
            gid=uid,
            netns=netns,
            stdout=PIPE,
            stderr=PIPE,
        )
    )
    try:
        yield process
    finally:
        process.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), 10)
        finally:
            process.signal_group(signal.SIGKILL)
            process.close()


async def wait_for_envoy(agent: Process) -> str:
    """All that the agent said until its Envoy runs."""
    assert agent.stderr is not None
    said = ""
    while "webapp-0.vm: not ready: discovery has not sent clusters yet" not in said:
        line = await asyncio.wait_for(agent.stderr.readline(), 10)
        assert line, "the agent ended"
        said += line.decode()
    return said


@pytest.mark.parametrize(("uid", "envoy_uid"), [(0, 1337), (1337, 1337), (65534, 65534)])
async def test_runs_as(netns: NetNs, directory: Path, uid: int, envoy_uid: int) -> None:
    async with command(netns, directory / "proxy", uid=uid) as agent:
        said = await wait_for_envoy(agent)
        assert ("warning: Envoy runs as uid 65534" in said) is (uid == 65534)
        envoy = next(pid for pid in netns.pids() if pid != agent.pid)
        assert Path(f"/proc/{envoy}").stat().st_uid == envoy_uid
        assert '"MESH_ID": "m"' in (directory / "proxy/envoy-rev0.json").read_text()
        agent.signal(signal.SIGTERM)
        assert await asyncio.wait_for(agent.wait(), 4) == 0
        assert netns.pids() == ()


async def test_a_relative_directory_is_below_the_current_one(netns: NetNs, directory: Path) -> None:
    async with command(netns, Path("proxy"), cwd=directory) as agent:
        await wait_for_envoy(agent)
        assert (directory / "proxy/envoy-rev0.json").is_file()


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        ((), 1, "error: port 15020 is taken, and the sidecar needs it; free it"),
        (("--discovery-address", "15010"), 2, "error: --discovery-address '15010' is not HOST:PORT"),
        (("--ip", "webapp"), 2, "error: --ip 'webapp' is no IP address"),
        (("--label", "app"), 2, "error: --label 'app' is not KEY=VALUE"),
        (("--mesh-config", "/nowhere"), 1, "error: /nowhere can't be read"),
        (("--proxy-config", "concurrency: many"), 1, "error: the configuration has errors"),
        (("--proxy-config", "proxyMetadata: {SECRET_TTL: long}"), 1, "error: the configuration has errors"),
    ],
)
async def test_can_not_start(netns: NetNs, directory: Path, more: tuple[str, ...], code: int, message: str) -> None:
    with listen(netns, "::", 15020, socket.SOCK_STREAM):
        async with command(netns, directory, *more) as agent:
            assert agent.stderr is not None
            said = (await agent.stderr.read()).decode()
            assert await agent.wait() == code
    assert message in said
    assert "Traceback" not in said


async def test_envoy_s_output_is_the_agent_s(netns: NetNs, directory: Path) -> None:
    async with command(netns, directory, "--log-level", "info") as agent:
        assert agent.stdout is not None
        line = await asyncio.wait_for(agent.stdout.readline(), 10)
        assert b"\tenvoy " in line
