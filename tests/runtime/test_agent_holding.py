"""Ports that stay open while nobody listens on them: real sockets in a namespace, the test's in Envoy's place."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from uuid import uuid4

import pytest

from pilotfish.runtime.agent.holding import HeldPorts
from pilotfish.runtime.agent.sockets import family_of, open_socket, owned_by
from pilotfish.runtime.linux.command import run
from pilotfish.runtime.linux.netns import NetNs

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces"),
    pytest.mark.timeout(30),
]

PORT = 15006
USER = 1337
HOSTS = ("127.0.0.1", "::1")


@pytest.fixture
def netns() -> Iterator[NetNs]:
    namespace = NetNs.create(f"pftest-held-{os.getpid()}-{uuid4().hex[:8]}")
    yield namespace
    namespace.delete()


@pytest.fixture
async def held(netns: NetNs) -> AsyncIterator[HeldPorts]:
    ports = HeldPorts(netns, USER, sockets=1, transparent=False)
    yield ports
    ports.close()


@contextmanager
def envoy(netns: NetNs, workers: int = 1) -> Iterator[list[socket.socket]]:
    """Listens as Envoy does: a socket for each worker and family."""
    with ExitStack() as stack:
        made = []
        for host in ("0.0.0.0", "::"):
            for _ in range(workers):
                with owned_by(USER):
                    listener = stack.enter_context(open_socket(netns, family_of(host)))
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if host == "::":
                    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                listener.bind((host, PORT))
                listener.listen(1024)
                made.append(listener)
        yield made


async def serve(listener: socket.socket, answered: list[socket.socket]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        connection, _ = await loop.sock_accept(listener)
        with connection:
            await loop.sock_sendall(connection, await loop.sock_recv(connection, 100))
            answered.append(listener)


@asynccontextmanager
async def serving(netns: NetNs, workers: int = 1) -> AsyncIterator[tuple[set[socket.socket], list[socket.socket]]]:
    """An Envoy that answers. Yields its sockets, and which of them answered."""
    with envoy(netns, workers) as listeners:
        answered: list[socket.socket] = []
        tasks = [asyncio.create_task(serve(listener, answered)) for listener in listeners]
        try:
            yield set(listeners), answered
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def ask(netns: NetNs, host: str = "127.0.0.1", source: str | None = None) -> bytes:
    loop = asyncio.get_running_loop()
    with open_socket(netns, family_of(host)) as connection:
        if source is not None:
            connection.bind((source, 0))
        await loop.sock_connect(connection, (host, PORT))
        await loop.sock_sendall(connection, b"hello")
        async with asyncio.timeout(5):
            return await loop.sock_recv(connection, 100)


@pytest.mark.parametrize("host", HOSTS)
async def test_who_comes_while_nobody_listens_is_served_by_the_next_who_does(
    netns: NetNs, held: HeldPorts, host: str
) -> None:
    async with serving(netns):
        held.hold((PORT,))
        assert await ask(netns, host) == b"hello"
    for _ in range(3):
        waiting = [asyncio.create_task(ask(netns, host)) for _ in range(50)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in waiting)
        async with serving(netns):
            assert await asyncio.gather(*waiting) == [b"hello"] * 50
            assert await ask(netns, host) == b"hello"


async def test_what_is_not_accepted_yet_is_not_lost(netns: NetNs, held: HeldPorts) -> None:
    """It waits in the queue of the one that ended."""
    with envoy(netns):
        held.hold((PORT,))
        waiting = [asyncio.create_task(ask(netns)) for _ in range(20)]
        await asyncio.sleep(0.05)
    async with serving(netns):
        assert await asyncio.gather(*waiting) == [b"hello"] * 20


@pytest.mark.parametrize("workers", [1, 3])
async def test_who_listens_gets_every_connection_at_once(netns: NetNs, workers: int) -> None:
    held = HeldPorts(netns, USER, workers, transparent=False)
    try:
        async with serving(netns, workers) as (listeners, answered):
            for host in HOSTS:
                held.hold((PORT,))
                assert {await ask(netns, host) for _ in range(100)} == {b"hello"}
            assert set(answered) == listeners, "each worker has its share"
        waiting = [asyncio.create_task(ask(netns)) for _ in range(30)]
        await asyncio.sleep(0.02)
        async with serving(netns, workers):
            assert await asyncio.gather(*waiting) == [b"hello"] * 30
            assert {await ask(netns) for _ in range(30)} == {b"hello"}
    finally:
        held.close()


async def test_who_comes_from_one_address_always_has_the_same_worker(netns: NetNs) -> None:
    """And who comes while there is none waits, as ever."""
    for last in range(1, 7):
        await run(["ip", "address", "add", f"fd00::{last}/128", "dev", "lo", "nodad"], netns=netns)
    held = HeldPorts(netns, USER, 3, transparent=False, by_source=True)
    try:
        async with serving(netns, 3) as (_, answered):
            held.hold((PORT,))
            for host, source in (("127.0.0.1", "127.0.0.{}"), ("::1", "fd00::{}")):
                workers = []
                for last in range(1, 7):
                    answered.clear()
                    assert {await ask(netns, host, source.format(last)) for _ in range(10)} == {b"hello"}
                    assert len(set(answered)) == 1
                    workers.append(answered[0])
                assert len(set(workers)) == 3
                assert workers[:3] == workers[3:], "neighbours have different ones"
        waiting = [asyncio.create_task(ask(netns)) for _ in range(20)]
        await asyncio.sleep(0.02)
        async with serving(netns, 3):
            assert await asyncio.gather(*waiting) == [b"hello"] * 20
            assert {await ask(netns) for _ in range(20)} == {b"hello"}
    finally:
        held.close()


async def test_a_listener_that_goes_and_comes_again_is_found_though_nobody_tells(netns: NetNs, held: HeldPorts) -> None:
    """Envoy may close and open a listener of its own accord."""
    for _ in range(3):
        async with serving(netns):
            held.hold((PORT,))
    async with serving(netns):
        assert {await ask(netns) for _ in range(20)} == {b"hello"}


async def test_a_released_port_refuses_and_who_waited_is_reset(netns: NetNs, held: HeldPorts) -> None:
    async with serving(netns):
        held.hold((PORT,))
    waiting = asyncio.create_task(ask(netns))
    await asyncio.sleep(0.02)
    held.release((PORT,))
    with pytest.raises(ConnectionResetError):
        await waiting
    with pytest.raises(ConnectionRefusedError):
        await ask(netns)
    async with serving(netns):
        assert await ask(netns) == b"hello"


async def test_a_kernel_that_can_not_hand_over_holds_nothing(
    netns: NetNs, held: HeldPorts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pilotfish.runtime.agent.holding.allow_migration", lambda _: False)
    async with serving(netns):
        held.hold((PORT,))
        assert await ask(netns) == b"hello"
    with pytest.raises(ConnectionRefusedError):
        await ask(netns)
