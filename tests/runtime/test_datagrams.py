"""UDP at a port of the host, which goes on to the pods of a gateway."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import cast

import pytest

from pilotfish.node.publish import Endpoints, Publish
from pilotfish.runtime.node.options import CannotStart
from pilotfish.runtime.node.publish import Port, Published


class Echo(asyncio.DatagramProtocol):
    """Answers with its name, and with whom it takes for the client."""

    def __init__(self, name: str) -> None:
        self.name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.transport.sendto(f"{self.name} {data.decode()} {address[1]}".encode(), address)


async def start(name: str) -> tuple[asyncio.DatagramTransport, tuple[str, int]]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Echo(name), local_addr=("127.0.0.1", 0))
    return transport, transport.get_extra_info("sockname")


@contextmanager
def client(port: Published) -> Iterator[socket.socket]:
    with closing(socket.socket(type=socket.SOCK_DGRAM)) as made:
        made.setblocking(False)
        made.connect(("127.0.0.1", port.port.number))
        yield made


async def ask(made: socket.socket, text: str) -> list[str]:
    loop = asyncio.get_running_loop()
    made.send(text.encode())
    async with asyncio.timeout(5):
        return (await loop.sock_recv(made, 4096)).decode().split()


def publish(number: int = 0) -> Publish:
    return Publish("127.0.0.1", number, "dns", "vm", "53", "UDP")


async def opened(endpoints: Callable[[], Endpoints]) -> Published:
    published = Published(Port(publish()), lambda _: endpoints())
    await published.start()
    return published


async def test_a_client_stays_with_its_pod_while_that_is_there() -> None:
    one, at_one = await start("one")
    two, at_two = await start("two")
    port = await opened(lambda: (at_one, at_two))
    try:
        with client(port) as first, client(port) as second:
            said = [await ask(each, "hi") for each in (first, second, first, second)]
            assert [name for name, *_ in said] == ["one", "two", "one", "two"]
            assert said[0] == said[2], "the pod sees one client, of one port"
            assert said[0][2] != said[1][2]
            one.close()
            await asyncio.sleep(0)
            first.send(b"lost")  # the kernel says that nobody is there any more
            found: list[str] = []
            while not found:
                try:
                    async with asyncio.timeout(0.2):
                        found = await ask(first, "again")
                except TimeoutError:
                    continue
            assert found[0] == "two"
    finally:
        await port.close()
        one.close()
        two.close()


async def test_a_port_that_is_taken_is_not_shared() -> None:
    with closing(socket.socket(type=socket.SOCK_DGRAM)) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(CannotStart, match=r"is taken.*ss -lnup"):
            Port(publish(taken.getsockname()[1]))


async def test_without_a_pod_nothing_comes_back() -> None:
    port = await opened(tuple)
    try:
        with client(port) as made, pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ask(made, "hi")
    finally:
        await port.close()
