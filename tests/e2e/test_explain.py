"""What `explain` says of a running mesh is what happens in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial

import jsonschema
import pytest

from pilotfish.cli.live_scene import read_scene
from pilotfish.cli.session import Session
from pilotfish.explain.accesslog import AccessLogEntry, parse_access_log
from pilotfish.explain.document import read_schema
from pilotfish.explain.scene import Scene
from pilotfish.explain.trace import End, Outcome, Side, Trace
from pilotfish.runtime.control.client import Client, find_meshes, state_root
from tests.e2e.harness import MakeMesh, Mesh
from tests.e2e.ways import CLIENTS, agrees, generate, logs, manifests, perform
from tests.waiting import wait_until

REQUESTS = 240


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    with make_mesh("ways", manifests()) as made:
        yield made


def scene_of(mesh: Mesh) -> Scene:
    view = next(each for each in find_meshes(state_root(mesh.environment)) if each.name == mesh.name)
    client = Client(view.directory)
    return read_scene(Session(view, client, "default"), client.status())[0]


def test_what_is_predicted_happens(mesh: Mesh) -> None:
    scene = scene_of(mesh)
    asked = list(generate(7, scene, REQUESTS))
    wrong, unknown, logged = [], 0, dict[str, tuple[Outcome, ...]]()
    for client in CLIENTS:
        own = [each for each in asked if each.client == client]
        for each, seen in zip(own, perform(mesh, client, own), strict=True):
            trace = each.predicted(scene)
            assert sum(outcome.probability for outcome in trace.outcomes) == pytest.approx(1), each
            if any(outcome.kind is End.UNKNOWN for outcome in trace.outcomes):
                unknown += 1
            elif not any(agrees(outcome, seen) for outcome in trace.outcomes):
                wrong.append((each, seen, trace.outcomes))
            if client == "client" and is_logged(trace):
                logged[number_of(each.path)] = trace.outcomes
    assert not wrong, "\n".join(map(str, wrong))
    assert unknown <= REQUESTS // 100
    check_logs(mesh, logged)


def number_of(path: str) -> str:
    return path.rpartition("id=")[2]


def is_logged(trace: Trace) -> bool:
    """The client's proxy reads the request."""
    return any(s.side is Side.CLIENT and s.name == "http_connection_manager" for s in trace.steps)


def check_logs(mesh: Mesh, predicted: dict[str, tuple[Outcome, ...]]) -> None:
    assert len(predicted) > 30

    def read() -> dict[str, AccessLogEntry] | None:
        entries = filter(None, map(parse_access_log, mesh.access_log(mesh.pods("client")[0]["name"])))
        found = {number_of(entry.path): entry for entry in entries if number_of(entry.path) in predicted}
        return found if len(found) == len(predicted) else None

    entries = wait_until("all requests in the client's access log", read)
    wrong = [(entries[id], told) for id, told in predicted.items() if not any(logs(o, entries[id]) for o in told)]
    assert not wrong, "\n".join(map(str, wrong))


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


@pytest.mark.parametrize(
    ("client", "to", "stages"),
    [
        ("client", "http://shop/split", {"netfilter", "cluster", "endpoint", "app"}),
        ("client", "http://shop/subset", {"netfilter", "cluster", "endpoint"}),
        ("past", "http://shop/who", {"netfilter", "app"}),
        ("bare", "http://empty/", {"netfilter"}),
    ],
)
def test_a_request_that_is_sent_confirms_what_was_predicted(mesh: Mesh, client: str, to: str, stages: set[str]) -> None:
    document = json.loads(mesh.call("explain", mesh.pods(client)[0]["name"], to, "--live", "-o", "json").stdout)
    jsonschema.validate(document, read_schema())
    marks = {(step["stage"], step["live"]) for step in document["steps"] if "live" in step}
    assert marks == {(stage, "confirmed") for stage in stages}
    assert "as predicted" in mesh.call("explain", mesh.pods(client)[0]["name"], to, "--live").stdout
