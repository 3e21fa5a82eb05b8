"""From where a machine's proxy calls others: what explain says of the filter state, a real Envoy does."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pilotfish.capture import ALL, CaptureSpec, rules
from pilotfish.explain.ask import parse
from pilotfish.explain.held import Held
from pilotfish.explain.scene import Scene, Station
from pilotfish.explain.trace import End, Stage
from pilotfish.explain.walk import explain
from pilotfish.model.names import NameTable
from tests.explain.machine import ORIGINAL_DST, URL, Json, Machine, Pod, answer, place, running
from tests.explain.matchers import NETNS, at, exact, into, to

NOWHERE = "203.0.113.1"
MARKS: dict[int, str | None] = {81: f"%FILTER_STATE({NETNS}:PLAIN)%", 82: None, 83: "OTHER"}
"""What a chain notes down as the namespace to open connections in, by the port that leads there."""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    if os.geteuid() != 0:
        pytest.skip("makes network namespaces")
    with running(tmp_path_factory.mktemp("envoy"), resources, 3) as started, serving(started.pods[1]):
        yield started


def resources(pods: tuple[Pod, ...]) -> Json:
    """The first pod calls the second; the third is another one."""
    caller, server, other = pods
    virtual = {
        "name": "virtualOutbound~caller.vm",
        "address": place("0.0.0.0", 15001, caller),
        "use_original_dst": True,
        "listener_filters": [ORIGINAL_DST],
        "filter_chains": [answer("stays")],
    }
    selector = extension("local_address_selectors.filter_state_override.v3.Config")
    bind = {
        "source_address": {"address": "0.0.0.0", "port_value": 0},
        "local_address_selector": {
            "name": "envoy.upstream.local_address_selector.filter_state_override",
            "typed_config": selector,
        },
    }
    endpoint = {"endpoint": {"address": place(server.address, 8080)}}
    cluster = {
        "name": "server",
        "type": "STATIC",
        "upstream_bind_config": bind,
        "load_assignment": {"cluster_name": "server", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    listeners = [virtual, *(handed(port, mark, caller, other) for port, mark in MARKS.items())]
    return {"listeners": listeners, "clusters": [cluster]}


def handed(port: int, mark: str | None, caller: Pod, other: Pod) -> Json:
    passed = extension("filters.network.tcp_proxy.v3.TcpProxy", stat_prefix="x", cluster="server")
    value = {
        "object_key": "envoy.network.upstream_bind_override.network_namespace",
        "factory_key": "envoy.hashable_string",
        "format_string": {"text_format_source": {"inline_string": str(other.netns.path) if mark == "OTHER" else mark}},
        "shared_with_upstream": "ONCE",
    }
    noted = extension("filters.network.set_filter_state.v3.Config", on_new_connection=[value])
    filters = [{"name": "note", "typed_config": noted}] if mark is not None else []
    own = into(exact(at("DestinationPort"), {str(port): to("passed")}))
    return {
        "name": f"0.0.0.0_{port}",
        "address": place("0.0.0.0", port),
        "bind_to_port": False,
        "filter_chain_matcher": exact(at("FilterState", key=NETNS), {str(caller.netns.path): own}),
        "filter_chains": [{"name": "passed", "filters": [*filters, {"name": "tcp", "typed_config": passed}]}],
    }


def extension(kind: str, **fields: Any) -> Json:
    return {"@type": f"{URL}envoy.extensions.{kind}", **fields}


@contextmanager
def serving(pod: Pod) -> Iterator[None]:
    """Whoever calls its port 8080 is told from where he did."""
    listening = pod.netns.socket()
    listening.bind(("0.0.0.0", 8080))
    listening.listen()

    def serve() -> None:
        while True:
            try:
                stream, address = listening.accept()
            except OSError:
                return
            with stream:
                stream.sendall(address[0].encode())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        listening.shutdown(2)
        listening.close()
        thread.join()


def build_scene(machine: Machine) -> Scene:
    held = Held.of_dump(machine.ask("/config_dump"))
    captures = CaptureSpec(outbound_ip_ranges_include=ALL)
    stations = {
        f"{name}.vm": Station(
            f"{name}.vm",
            "vm",
            (pod.address,),
            captured=name == "caller",
            _rules=lambda family: rules(captures, family),
            _held=lambda: held,
            _names=lambda: NameTable("none"),
            machine="box",
            netns=str(pod.netns.path),
        )
        for name, pod in zip(("caller", "server", "other"), machine.pods, strict=True)
    }
    return Scene(stations)


@pytest.mark.parametrize("port", MARKS)
def test_it_calls_from_where_the_filter_state_says(machine: Machine, port: int) -> None:
    scene = build_scene(machine)
    trace = explain(scene, scene.stations["caller.vm"], parse(f"{NOWHERE}:{port}"))
    assert {(outcome.kind, outcome.pod) for outcome in trace.outcomes} == {(End.DELIVERED, "server.vm")}
    (endpoint,) = trace.at(Stage.ENDPOINT)
    opener = scene.inside(str(endpoint.evidence.get("opened_in", "")))
    foretold = opener.address if opener is not None else "10.97.0.1"  # Envoy's own
    assert machine.pods[0].call(NOWHERE, port, b"").decode() == foretold
    assert foretold == {81: machine.pods[0].address, 82: "10.97.0.1", 83: machine.pods[2].address}[port]


def test_what_no_listener_takes_stays_in_the_pods_own(machine: Machine) -> None:
    scene = build_scene(machine)
    trace = explain(scene, scene.stations["caller.vm"], parse(f"{NOWHERE}:90"))
    assert [step.name for step in trace.at(Stage.FILTER_CHAIN)] == ["stays"]
    assert machine.pods[0].call(NOWHERE, 90, b"") == b"stays"
