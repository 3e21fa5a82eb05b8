"""`pilotfish agent` as a process of its own, with and without root."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import pytest

from pilotfish.model import capabilities
from pilotfish.runtime.agent.envoy import may_execute
from pilotfish.runtime.agent.sockets import listen
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.process import PIPE, Process, ProcessSpec, start
from tests.waiting import until

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
    netns: NetNs,
    directory: Path,
    *more: str,
    uid: int = 0,
    cwd: Path = Path("/"),
    addresses: tuple[str, ...] = ("--ip", "127.0.0.1"),
    before: tuple[str, ...] = (),
    runs_as: int | None = None,
    env: Mapping[str, str] = MappingProxyType({}),
) -> AsyncIterator[Process]:
    """No discovery is there: Envoy runs and waits for it. `before`: a program that starts it as the user `runs_as`."""
    program = (
        *before,
        interpreter(uid if runs_as is None else runs_as),
        "-c",
        "from pilotfish.cli import main; main()",
        "agent",
    )
    arguments = ("--pod", "webapp-0", "-n", "vm", *addresses, "--discovery-address", "127.0.0.1:15010")
    process = await start(
        ProcessSpec(
            argv=(*program, *arguments, "--monitoring-address", "", "--directory", str(directory), *more),
            env={"PATH": os.defpath, "PYTHONPATH": PACKAGES, "ISTIO_META_MESH_ID": "m", **env},
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


async def test_as_a_container_s_first_process_it_hears_signals_and_waits_for_orphans(
    netns: NetNs, directory: Path
) -> None:
    """As a pod has it: user 1337, no capabilities, a discovery whose name nobody knows yet, a PID namespace."""
    user = ("setpriv", "--reuid=1337", "--regid=1337", "--clear-groups", "--bounding-set=-all")
    container = ("unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", *user)
    named = ("--discovery-address", "istiod.nowhere.invalid:15010")
    cluster = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}
    async with command(netns, directory / "proxy", *named, before=container, runs_as=1337, env=cluster) as outer:
        await wait_for_envoy(outer)
        (agent,) = children(outer.pid)
        own = set(children(agent))
        subprocess.run(("nsenter", "-t", str(agent), "-p", "sh", "-c", "sleep 0.2 & exit"), check=True)
        (orphan,) = set(children(agent)) - own
        await until("somebody waited for the orphan", lambda: not Path(f"/proc/{orphan}").exists())
        assert set(children(agent)) == own
        os.kill(agent, signal.SIGTERM)
        assert await asyncio.wait_for(outer.wait(), 8) == 0


async def test_what_an_injector_writes_is_understood(netns: NetNs, directory: Path) -> None:
    podinfo = directory / "pod"
    podinfo.mkdir()
    (podinfo / "labels").write_text('app="webapp"\nversion="v1"')
    (podinfo / "annotations").write_text('note="two\\nlines"\n')
    env = {
        "INSTANCE_IP": "127.0.0.1,::1",
        "SERVICE_ACCOUNT": "web",
        "ISTIO_META_WORKLOAD_NAME": "webapp",
        "ISTIO_CPU_LIMIT": "3",
        "PROXY_CONFIG": '{"proxyMetadata": {"ISTIO_META_REGION": "north"}}',
    }
    more = ("--podinfo", str(podinfo), "--gateway", "--component-log-level", "rbac:debug")
    async with command(netns, directory / "proxy", *more, addresses=(), env=env) as agent:
        await until("Envoy runs", lambda: (directory / "proxy/envoy-rev0.json").exists() and netns.pids()[1:])
        node = json.loads((directory / "proxy/envoy-rev0.json").read_text())["node"]
        assert node["id"] == "router~127.0.0.1~webapp-0.vm~vm.svc.cluster.local"
        told = node["metadata"]
        assert told["LABELS"] == {"app": "webapp", "version": "v1"}
        assert told["ANNOTATIONS"] == {"note": "two\nlines"}
        assert (told["INSTANCE_IPS"], told["SERVICE_ACCOUNT"]) == ("127.0.0.1,::1", "web")
        assert (told["WORKLOAD_NAME"], told["REGION"]) == ("webapp", "north")
        envoy = next(pid for pid in netns.pids() if pid != agent.pid)
        argv = await until("it is Envoy", lambda: arguments_of(envoy))
        assert argv[argv.index("--concurrency") + 1] == "3"
        assert "rbac:debug" in argv[argv.index("--component-log-level") + 1]


async def test_a_container_s_root_that_may_become_nobody_else_keeps_its_clients_addresses(
    netns: NetNs, directory: Path
) -> None:
    """As the injector has it for TPROXY: root, of the proxy's group, with one capability."""
    limited = ("setpriv", "--regid=1337", "--clear-groups", "--bounding-set=-all,+net_admin")
    env = {"ISTIO_META_INTERCEPTION_MODE": "TPROXY"}
    async with command(netns, directory / "proxy", before=limited, env=env) as agent:
        assert "warning" not in await wait_for_envoy(agent)
        envoy = next(pid for pid in netns.pids() if pid != agent.pid)
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{envoy}/status").read_text().splitlines())
        assert (status["Uid"].split()[0], status["Gid"].split()[0]) == ("0", "1337")
        assert int(status["CapEff"], 16) == capabilities.mask(("CAP_NET_ADMIN",))


def arguments_of(envoy: int) -> list[str]:
    """Nothing while its launcher is at it."""
    argv = Path(f"/proc/{envoy}/cmdline").read_text().split("\0")
    return argv if "--concurrency" in argv else []


async def test_hooks_ask_the_agent_of_their_pod(netns: NetNs, directory: Path) -> None:
    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        argv = (sys.executable, "-c", "from pilotfish.cli import main; main()", "agent-request", *words)
        with netns.entered():
            return subprocess.run(argv, capture_output=True, text=True, check=False)

    away = ask("drain")
    assert (away.returncode, "the agent of this pod does not answer at port 15020" in away.stderr) == (1, True)
    async with command(netns, directory / "proxy") as agent:
        said = await wait_for_envoy(agent)
        assert "Draining" not in said
        late = await asyncio.to_thread(ask, "wait", "--timeout", "0")
        assert late.returncode == 1
        assert "the proxy is not ready after 0 s: not ready: discovery has not sent clusters yet" in late.stderr
        assert (await asyncio.to_thread(ask, "drain")).returncode == 0
        assert agent.stderr is not None
        assert b"Draining: the pod ends" in await asyncio.wait_for(agent.stderr.readline(), 5)
        assert (await asyncio.to_thread(ask, "quit")).returncode == 0
        assert await asyncio.wait_for(agent.wait(), 5) == 0


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


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
