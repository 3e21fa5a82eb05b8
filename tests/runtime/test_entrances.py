"""The ports of gateways on the host: opened, closed, and the same again."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial

import pytest

from pilotfish.config import load
from pilotfish.config.kubernetes import ServicePort
from pilotfish.model.kinds import SERVICE
from pilotfish.node import store as storing
from pilotfish.node.publish import Publish
from pilotfish.node.store import Store
from pilotfish.runtime.node.entrances import Entrances
from pilotfish.runtime.node.options import ProgressLine
from pilotfish.runtime.node.progress import Progress
from pilotfish.runtime.node.publish import Port
from tests.waiting import until


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def store(*ports: int, version: int, gateways: Sequence[str] = ("ingressgateway",)) -> Store:
    """With a Gateway of these ports at each of the mesh's gateways, and a route."""
    servers = ", ".join(f'{{port: {{number: {p}, name: p{p}, protocol: HTTP}}, hosts: ["*"]}}' for p in ports)
    text = "".join(
        f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}}}
spec: {{selector: {{istio: {name}}}, servers: [{servers}]}}
---"""
        for name in gateways
    )
    text += f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop}}
spec: {{hosts: [shop.io], gateways: [{", ".join(gateways)}], http: [{{route: [{{destination: {{host: shop}}}}]}}]}}
"""
    filled, _ = storing.apply(Store(), load(text if ports else "", "shop.yaml"), 0.0)
    return replace(storing.complete(filled, 0.0), version=version)


class Opened:
    def __init__(self, chosen: Sequence[Port] = ()) -> None:
        self.said: list[ProgressLine] = []
        self.entrances = Entrances(chosen, Progress(self.said.append))

    def update(self, held: Store) -> list[str]:
        """The addresses then."""
        self.entrances.update(held, tuple, lambda _: ())
        return [each.address for each in self.entrances.published]


async def answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        _, writer = await asyncio.open_connection(host, int(port))
    except ConnectionError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def refuses(address: str) -> bool:
    return not await answers(address)


async def test_a_port_is_open_as_long_as_a_gateway_has_it_and_comes_back_where_it_was() -> None:
    port = free_port()
    opened = Opened()
    (address,) = opened.update(store(port, version=1))
    assert await answers(address)
    assert opened.update(store(version=2)) == []
    async with asyncio.timeout(10):
        while await answers(address):
            await asyncio.sleep(0)
    assert opened.update(store(port, version=3)) == [address]
    assert [line.text for line in opened.said if line.text.startswith("try: ")] == [
        f"try: curl -H 'Host: shop.io' http://{address}/"
    ], "said once"
    await opened.entrances.close()
    assert not await answers(address)


async def test_a_taken_port_is_said_and_another_is_opened() -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        opened = Opened()
        (address,) = opened.update(store(port, version=1))
        assert address != f"127.0.0.1:{port}"
        (warning,) = [line.text for line in opened.said if line.severity == "warning"]
        assert f"as {port} of 127.0.0.1 is taken" in warning
        assert f"--publish PORT:istio-ingressgateway.istio-system:{port}" in warning
        await opened.entrances.close()


async def test_of_two_gateways_with_one_port_the_way_in_gets_it() -> None:
    port = free_port()
    opened = Opened()
    try:
        opened.update(store(port, version=1, gateways=("egressgateway", "ingressgateway")))
        by_gateway = {each.publish.target: each.address for each in opened.entrances.published}
        assert by_gateway[f"istio-ingressgateway.istio-system:{port}"] == f"127.0.0.1:{port}"
    finally:
        await opened.entrances.close()


def exposed(held: Store, kind: str, port: int, node_port: int = 0) -> Store:
    """With a Service of this type in front of the mesh's gateway."""
    stated = f", nodePort: {node_port}" if node_port else ""
    text = (
        "apiVersion: v1\nkind: Service\nmetadata: {name: front, namespace: istio-system}\n"
        f"spec: {{type: {kind}, selector: {{istio: ingressgateway}}, ports: [{{port: {port}{stated}}}]}}\n"
    )
    filled, _ = storing.apply(held, load(text, "front.yaml"), 0.0)
    return replace(filled, version=held.version + 1)


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
async def test_a_service_before_a_gateway_says_the_number_and_is_not_opened_again(kind: str) -> None:
    port, asked = free_port(), free_port()
    opened = Opened()
    try:
        held = store(port, version=1)
        assert opened.update(held) == [f"127.0.0.1:{port}"]
        assert opened.update(exposed(held, kind, port, asked)) == [f"127.0.0.1:{asked}"]
        front = opened.entrances.host_port(SERVICE.ref("istio-system", "front"), ServicePort(port=port))
        assert front is not None
        assert front.number == asked
        assert not list(opened.entrances.problems)
    finally:
        await opened.entrances.close()


async def test_a_service_that_the_user_publishes_is_open_there_alone() -> None:
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: NodePort, ports: [{port: 80}]}\n"
    filled, _ = storing.apply(Store(), load(text, "web.yaml"), 0.0)
    opened = Opened()
    try:
        (by_itself,) = opened.update(replace(filled, version=1))
        chosen = await opened.entrances.publish(Publish.parse("0:web:80"))
        assert not list(opened.entrances.published)
        await until("it is closed", partial(refuses, by_itself))
        port = opened.entrances.host_port(SERVICE.ref("default", "web"), ServicePort(port=80))
        assert port is chosen.port
        assert await opened.entrances.unpublish(chosen.address, "TCP") is chosen
        (again,) = opened.entrances.published
        assert again.address == by_itself, "where it was before"
    finally:
        await opened.entrances.close()


@pytest.mark.parametrize(("asked", "own"), [("http-{0}", 0), ("{0}", 0), ("other", 1)])
async def test_what_the_user_publishes_is_not_opened_twice(asked: str, own: int) -> None:
    port = free_port()
    chosen = Port(Publish.parse(f"0:istio-ingressgateway.istio-system:{asked.format(port)}"))
    opened = Opened((chosen,))
    try:
        assert len(opened.update(store(port, version=1))) == own
        tried = opened.entrances.trials(chosen)
        assert tried == (() if own else (f"curl -H 'Host: shop.io' http://{chosen.address}/",))
    finally:
        await opened.entrances.close()
        chosen.close()
