"""The real Envoy, as the machine's: it listens and calls in pods' network namespaces, and has no right but that."""

import asyncio
import json
import os
import signal
import socket
import subprocess
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest

from pilotfish.runtime.agent.envoy import find_envoy
from pilotfish.runtime.agent.holding import HeldPorts
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.process import STDOUT, Process, ProcessSpec, start
from pilotfish.runtime.net.network import MeshNetwork
from tests.runtime.network_world import add
from tests.waiting import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
WORKERS = 2


def address(host: str, port: int, netns: NetNs | None = None) -> dict[str, Any]:
    inside = {"network_namespace_filepath": str(netns.path)} if netns else {}
    return {"socket_address": {"address": host, "port_value": port, **inside}}


def listener(pod: NetNs) -> dict[str, Any]:
    """What the pod's captured port gets is passed to its app, from within."""
    proxy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "in",
        "cluster": pod.name,
    }
    return {
        "name": pod.name,
        "address": address("0.0.0.0", 15006, pod),
        "filter_chains": [{"filters": [{"name": "tcp", "typed_config": proxy}]}],
    }


def cluster(pod: NetNs) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": address("127.0.0.1", 8080)}}
    return {
        "name": pod.name,
        "connect_timeout": "2s",
        "upstream_bind_config": {"source_address": address("127.0.0.6", 0, pod)["socket_address"]},
        "load_assignment": {"cluster_name": pod.name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


async def run_envoy(network: MeshNetwork, directory: Path, *pods: NetNs) -> Process:
    config = directory / "envoy.json"
    resources = {"listeners": [*map(listener, pods)], "clusters": [*map(cluster, pods)]}
    config.write_text(json.dumps({"admin": {"address": address("127.0.0.1", 15000)}, "static_resources": resources}))
    shared = Path(gettempdir())
    for folder in (directory, *directory.parents):
        if folder.is_relative_to(shared) and folder != shared:
            folder.chmod(0o755)
    argv = (
        str(find_envoy()),
        "-c",
        str(config),
        "--concurrency",
        str(WORKERS),
        "--disable-hot-restart",
        "-l",
        "warning",
    )
    spec = ProcessSpec(
        argv,
        {},
        uid=1337,
        gid=1337,
        netns=network.node,
        userns=network.userns,
        keep_capabilities=frozenset(("CAP_SYS_ADMIN",)),
        executable=argv[0],
        stdout=str(directory / "log"),
        stderr=STDOUT,
    )
    return await start(spec)


async def serve(stack: AsyncExitStack, pod: NetNs) -> None:
    """An app that says whose it is, and who calls."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{pod.name} {writer.get_extra_info('peername')[0]}".encode())
        writer.close()
        await writer.wait_closed()

    listening = pod.socket()
    listening.bind(("127.0.0.1", 8080))
    await stack.enter_async_context(await asyncio.start_server(answer, sock=listening))


async def call(client: socket.socket, address: str, port: int, word: bytes = b"") -> str:
    with client:
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, (address, port))
        await loop.sock_sendall(client, word)
        said = b""
        while data := await loop.sock_recv(client, 4096):
            said += data
    return said.decode()


def established(pod: NetNs, count: int) -> bool:
    """That many connections are at the pod's captured port, which nobody may have accepted."""
    with pod.entered():
        command = ("ss", "-Htn", "state", "established", "sport", "=", ":15006")
        return len(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()) == count


async def test_it_listens_and_calls_in_pods_and_is_back_at_home(network: MeshNetwork, tmp_path: Path) -> None:
    pods = [await add(network, 2), await add(network, 3)]
    async with AsyncExitStack() as stack:
        for pod in pods:
            await serve(stack, pod)
        envoy = await run_envoy(network, tmp_path, *pods)
        stack.callback(envoy.close)

        async def asked(number: int) -> str:
            try:
                return await call(network.node.socket(), str(network.subnets.v4[number]), 15006)
            except OSError:
                return ""

        for number, pod in enumerate(pods, 2):
            assert await until("Envoy listens", partial(asked, number)) == f"{pod.name} 127.0.0.6"
        # Two threads, each of which has been in both.
        said = await asyncio.gather(*(asked(2 + number % 2) for number in range(40)))
        assert set(said) == {f"{pod.name} 127.0.0.6" for pod in pods}
        request = b"GET /ready HTTP/1.1\r\nhost: envoy\r\nconnection: close\r\n\r\n"
        assert "LIVE" in await call(network.node.socket(), "127.0.0.1", 15000, request)
        threads = Path(f"/proc/{envoy.pid}/task").iterdir()
        assert {(thread / "ns/net").stat().st_ino for thread in threads} == {network.node.path.stat().st_ino}
        envoy.signal(signal.SIGKILL)
        await envoy.wait()


async def test_who_calls_while_it_is_away_is_answered_by_the_next(network: MeshNetwork, tmp_path: Path) -> None:
    """The agent that holds the port is in no user namespace of its own; the kernel gives it the same sockets' group."""
    pod = await add(network, 2)
    address = str(network.subnets.v4[2])
    async with AsyncExitStack() as stack:
        await serve(stack, pod)
        first = await run_envoy(network, tmp_path, pod)
        stack.callback(first.close)

        async def asked() -> str:
            try:
                return await call(network.node.socket(), address, 15006)
            except OSError:
                return ""

        await until("Envoy listens", asked)
        held = HeldPorts(pod, 1337, WORKERS, transparent=False)
        stack.callback(held.close)
        held.hold((15006,))
        assert await asked() == f"{pod.name} 127.0.0.6"
        first.signal(signal.SIGKILL)
        await first.wait()
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            waiting = [tasks.create_task(call(network.node.socket(), address, 15006)) for _ in range(4)]
            await until("they are connected", partial(established, pod, 4))
            second = await run_envoy(network, tmp_path, pod)
            stack.callback(second.close)
        assert {task.result() for task in waiting} == {f"{pod.name} 127.0.0.6"}
        second.signal(signal.SIGKILL)
        await second.wait()


async def test_a_pod_that_is_not_owned_is_none_of_its(network: MeshNetwork, tmp_path: Path) -> None:
    envoy = await run_envoy(network, tmp_path, await add(network, 2, owned=False))
    try:
        async with asyncio.timeout(10):
            assert await envoy.wait() == 1
        assert "Operation not permitted" in (tmp_path / "log").read_text()
    finally:
        envoy.signal(signal.SIGKILL)
        envoy.close()
