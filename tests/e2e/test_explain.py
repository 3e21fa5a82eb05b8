"""What `explain` says of a running mesh is what happens in it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial

import jsonschema
import pytest

from pilotfish.cli.live_scene import read_scene
from pilotfish.cli.mesh.machine import Machine
from pilotfish.explain.accesslog import AccessLogEntry, parse_access_log
from pilotfish.explain.document import read_schema
from pilotfish.explain.live import is_logged
from pilotfish.explain.scene import Scene
from pilotfish.explain.trace import End
from pilotfish.runtime.control.client import find_meshes, state_root
from pilotfish.runtime.echo.calls import Result
from tests.e2e.asked import agrees, generate, logs, perform, pod_of
from tests.e2e.harness import MakeMesh, Mesh
from tests.e2e.ways import CLIENTS, manifests
from tests.freezing import freeze
from tests.waiting import wait_until

SEED = int(os.environ.get("WAYS_SEED", "7"))
REQUESTS = int(os.environ.get("WAYS_REQUESTS", "300"))
"""`WAYS_REQUESTS=1500 pytest tests/e2e/test_explain.py` is the whole."""


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    with make_mesh("ways", manifests(SEED), flawed=True) as made:
        yield made


def scene_of(mesh: Mesh) -> Scene:
    view = next(each for each in find_meshes(state_root(mesh.environment)) if each.name == mesh.name)
    machine = Machine(view)
    return read_scene(machine, machine.pods())[0]


@pytest.mark.timeout(60 + REQUESTS)
def test_what_is_predicted_happens(mesh: Mesh) -> None:
    scene = scene_of(mesh)
    asked = list(generate(SEED, scene, REQUESTS))
    wrong, unknown = [], []
    for client in CLIENTS:
        own = [each for each in asked if each.client == client]
        predicted = [each.predicted(scene) for each in own]
        seen = perform(mesh, client, own)
        entries = read_log(mesh, client, [s for t, s in zip(predicted, seen, strict=True) if is_logged(t)])
        for each, trace, result in zip(own, predicted, seen, strict=True):
            assert sum(outcome.probability for outcome in trace.outcomes) == pytest.approx(1), each
            if any(outcome.kind is End.UNKNOWN for outcome in trace.outcomes):
                unknown.append((each, trace.outcomes))
                continue
            entry = entries.get((result.source, result.target))
            is_told = entry is not None or not (is_logged(trace) and result.source)
            fits = (agrees(o, result) and (entry is None or logs(trace, o, entry)) for o in trace.outcomes)
            if not is_told or not any(fits):
                wrong.append((each, result, entry, trace.outcomes))
    said = f"{len(asked)} requests, {len(wrong)} otherwise than predicted, {len(unknown)} unknown"
    print(said)
    assert not wrong, "\n".join(map(str, (said, *wrong)))
    assert len(unknown) <= REQUESTS // 100, "\n".join(map(str, (said, *unknown)))


def read_log(mesh: Mesh, client: str, logged: list[Result]) -> dict[tuple[str, str], AccessLogEntry]:
    """By the client's connection, as soon as all of these are in its proxy's access log."""
    ends = {(each.source, each.target) for each in logged if each.source}
    if not ends:
        return {}
    pod = pod_of(mesh, client)

    def read() -> bool:
        found.update((e.ends, e) for e in filter(None, map(parse_access_log, mesh.access_log(pod))))
        return ends <= set(found)

    found: dict[tuple[str, str], AccessLogEntry] = {}
    with suppress(AssertionError):  # which of them is missing is told by who asks
        wait_until(f"{len(ends)} requests in the log of {pod}", read, 10)
    return found


def test_why_names_the_object_that_led_there(mesh: Mesh) -> None:
    client = mesh.pods("client")[0]["name"]
    assert mesh.status_code(client, "http://shop/subset") == "503"
    mesh.logged(client, "the request", lambda entry: entry.path == "/subset" and entry.response_flags == ("UH",))
    for whose in (client, "--last"):
        said = mesh.call("why", "UH", whose).stdout
        assert "asked: GET shop/subset → 503 UH\n  no endpoint could be asked (no_healthy_upstream)" in said
        assert "no ready pod of shop.default.svc.cluster.local has version=v3; DestinationRule default/shop" in said
        assert "spec.http[6].route[0] sends it there" in said
        changes = said.partition("to change:\n")[2].splitlines()
        assert [(line.split()[:2], line.split()[-1]) for line in changes] == [
            (["DestinationRule", "default/shop"], "spec.subsets[2].labels"),
            (["Service", "default/shop"], "spec.selector"),
        ]


def test_why_tells_what_each_side_saw(mesh: Mesh) -> None:
    client = mesh.pods("client")[0]["name"]
    assert mesh.status_code(client, "http://shop:82/who", "-X", "POST") == "503"
    mesh.logged(client, "the request", lambda entry: (entry.method, entry.response_code) == ("POST", 503))
    for arguments, seen in (
        (("503", client), "asked: POST shop:82/who → 503 -\n  the endpoint answered so: its app, or its proxy"),
        (("UF", "--last"), "was asked: POST shop:82/who → 503"),
    ):
        said = wait_until("the entry", partial(tell, mesh, seen, *arguments))
        assert "8002, it listens on 127.0.0.1 alone" in said
        assert "Service default/shop" in said.partition("to change:\n")[2]
        assert "spec.ports[2].targetPort" in said.partition("to change:\n")[2]


def tell(mesh: Mesh, seen: str, *arguments: str) -> str | None:
    """What `why` says; None before the log has the entry that is waited for."""
    done = mesh.call("why", *arguments, check=False)
    return done.stdout if seen in done.stdout else None


def test_why_names_the_routes_of_which_none_matched(mesh: Mesh) -> None:
    client = mesh.pods("client")[0]["name"]
    assert mesh.status_code(client, "http://shop/nobody-has-it") == "404"
    mesh.logged(client, "the request", lambda entry: entry.path == "/nobody-has-it")
    said = mesh.call("why", "NR", client).stdout
    assert "404 NR by the proxy of" in said
    assert "sends it there" not in said
    assert "spec.hosts, spec.http[].match" in said.partition("to change:\n  VirtualService default/shop")[2]


def test_owners_are_fields_and_the_lines_that_they_stand_on(mesh: Mesh) -> None:
    client = mesh.pods("client")[0]["name"]
    document = json.loads(mesh.call("explain", client, "http://shop/fault", "-o", "json").stdout)
    owners = {step["stage"]: step["owner"] for step in document["steps"] if "owner" in step}
    assert owners["http_filter"]["field"] == "spec.http[3].fault.abort"
    assert owners["virtual_host"]["field"] == "spec.ports[0]"
    lines = (mesh.sources / "mesh.yaml").read_text().splitlines()
    for owner in owners.values():
        assert owner["file"] == str(mesh.sources / "mesh.yaml")
        assert f'"name": "{owner["name"]}"' in lines[owner["line"] - 1]


def test_while_discovery_hangs_owners_are_what_the_proxies_say(mesh: Mesh) -> None:
    client, discovery = mesh.pods("client")[0]["name"], mesh.status["discovery"]["pid"]
    freeze(discovery)
    try:
        done = mesh.call("explain", client, "http://shop/fault", "-o", "json")
    finally:
        os.kill(discovery, signal.SIGCONT)
    assert "discovery does not answer" in done.stderr
    owners = {step["stage"]: step["owner"] for step in json.loads(done.stdout)["steps"] if "owner" in step}
    assert owners["http_filter"]["field"] == "spec.http[3].fault.abort"
    assert "file" not in owners["http_filter"]


@pytest.mark.parametrize(
    ("client", "to", "stages"),
    [
        ("client", "http://shop/split", {"netfilter", "cluster", "endpoint", "app"}),
        ("client", "http://shop/subset", {"netfilter", "cluster", "endpoint"}),
        ("client", "tcp://shop:90", {"netfilter", "cluster", "endpoint", "app"}),
        ("past", "http://shop/who", {"netfilter", "app"}),
        ("naked", "http://empty/", {"netfilter"}),
    ],
)
def test_a_request_that_is_sent_confirms_what_was_predicted(mesh: Mesh, client: str, to: str, stages: set[str]) -> None:
    document = json.loads(mesh.call("explain", mesh.pods(client)[0]["name"], to, "--live", "-o", "json").stdout)
    jsonschema.validate(document, read_schema())
    marks = {(step["stage"], step["live"]) for step in document["steps"] if "live" in step}
    assert marks == {(stage, "confirmed") for stage in stages}
    assert "as predicted" in mesh.call("explain", mesh.pods(client)[0]["name"], to, "--live").stdout


def test_no_log_is_waited_for_where_no_proxy_writes_one(mesh: Mesh) -> None:
    began = time.monotonic()
    mesh.call("explain", mesh.pods("past")[0]["name"], "http://shop/who", "--live")
    assert time.monotonic() - began < 5, "seconds for which a log is waited for"
