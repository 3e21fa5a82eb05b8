"""Discovery at every address of its machine, of both families, as it is in a cluster."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from pilotfish.envoy.types import CLUSTER
from pilotfish.model.addresses import host_port
from pilotfish.runtime.discovery.address import Address
from pilotfish.runtime.discovery.listening import open_listening, port_of
from pilotfish.runtime.discovery.serve import DiscoveryServer
from tests.manifests import service
from tests.runtime.discovery_client import Client, connected, discovery

EVERYWHERE = Address.parse(":0")


@asynccontextmanager
async def everywhere(folder: Path) -> AsyncIterator[DiscoveryServer]:
    (folder / "mesh.yaml").write_text(service("one", "10.96.0.7"))
    more: dict[str, Any] = {"secure": EVERYWHERE, "webhook": EVERYWHERE, "state": folder / "state"}
    async with discovery(folder / "mesh.yaml", at=EVERYWHERE, allow_plaintext=True, **more) as made:
        yield made


async def shakes_hands(host: str, address: Address | None) -> bool:
    assert address is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    _, writer = await asyncio.open_connection(host, address.port, ssl=context)
    writer.close()
    return True


async def test_every_port_is_reached_over_both_families(tmp_path: Path) -> None:
    async with everywhere(tmp_path) as made, aiohttp.ClientSession() as http:
        for host in ("127.0.0.1", "::1"):
            async with http.get(f"http://{host_port(host, made.monitoring.port)}/ready") as answer:
                assert await answer.text() == "ready\n"
            assert await shakes_hands(host, made.secure)
            assert await shakes_hands(host, made.webhook)
            async with connected(Address(host, made.xds.port), Client()) as client:
                await client.until("it is served", lambda client=client: client.has[CLUSTER])
                # The address proves something, and so is that of the caller's own family.
                assert [each.caller.host for each in made.plane.roster.sessions.values()] == [host]


def test_where_the_kernel_has_no_ipv6_it_is_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    create = socket.create_server

    def refuse(address: Any, *, family: int = socket.AF_INET, **more: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return create(address, family=family, **more)

    monkeypatch.setattr(socket, "create_server", refuse)
    with open_listening(EVERYWHERE) as listening:
        assert listening.family == socket.AF_INET
        socket.create_connection(("127.0.0.1", port_of(listening)), timeout=5).close()


def test_a_port_that_is_taken_in_one_family_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        open_listening(Address("", port_of(taken)))
