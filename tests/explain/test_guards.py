"""Istio's requests against policies, explained: as the real Envoys of tests/envoy answer them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from pilotfish.envoy.resources import resource_set
from pilotfish.explain.call import Application, Call, Direction, HttpRequest, Tls
from pilotfish.explain.held import Held
from pilotfish.explain.paths import normalise
from pilotfish.explain.proxy import walk_proxy
from pilotfish.explain.trace import Branch, End, Outcome, Tape
from tests.envoy import test_authorization_live as live
from tests.envoy.conftest import POD4


@pytest.mark.skipif(not live.ROWS, reason="Istio's requests are not here")
@pytest.mark.parametrize("stage", live.STAGES, ids=str)
def test_requests_are_explained_as_they_are_answered(stage: live.Stage) -> None:
    graph, proxy = live.make_mesh(stage)
    held = Held.of_resources(resource_set(graph, proxy))
    wrong = {
        row["id"]: str(outcome)
        for row in live.STAGES[stage]
        if not _is_as_expected(outcome := _ask(held, stage, row), row)
    }
    assert wrong == {}


def _ask(held: Held, stage: live.Stage, row: Mapping[str, Any]) -> Outcome | None:
    """How it ends in the proxy; None where it is let through."""
    request = row["request"]
    is_tcp, tape = request["scheme"] == "tcp", Tape()
    source = request["from"]
    is_plain = source == "gateway" or request.get("tls") == "plaintext"
    identity = "spiffe://cluster.local/ns/{}/sa/{}".format(*source.split("/")) if not is_plain else ""
    alpn = ("istio",) if is_tcp else ("istio-http/1.1", "istio", "http/1.1")
    call = Call(
        Direction.GATEWAY if stage.at_gateway else Direction.INBOUND,
        POD4,
        live.GATEWAY_PORT if stage.at_gateway else live.PORTS[request.get("port", "http")],
        Application.TCP if is_tcp else Application.HTTP,
        None if is_plain else Tls("outbound_.80_._.b.ns-a.svc.cluster.local", alpn, True, identity),
        _request(request),
        source=live.ADDRESSES[source],
        now=time.time(),
    )
    through = list(walk_proxy(Branch(tape), held, call))
    assert bool(through) != bool(tape.outcomes)
    return None if through else tape.outcomes[0]


def _request(request: Mapping[str, Any]) -> HttpRequest:
    first, *lines = live.text_of(request).strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return HttpRequest(headers.pop("host"), path, method, headers)


def _is_as_expected(outcome: Outcome | None, row: Mapping[str, Any]) -> bool:
    expected = row["expect"]
    if outcome is not None and outcome.kind is End.UNKNOWN:
        return "custom" in row["scenario"]  # nobody knows here what a provider says
    if expected["allowed"]:
        return outcome is None
    if "status" in expected:
        return outcome is not None and outcome.status == expected["status"]
    return outcome is not None


def test_paths_are_what_envoy_makes_of_them(conformance: Path) -> None:
    table = yaml.safe_load((conformance / "security" / "live" / "normalization.yaml").read_text())
    wrong = []
    for row in (*table["rows"], *table["observed_rows"]):
        said = table["hcm_settings"][row["mode"]]
        escaped = 4 if said["pathWithEscapedSlashesAction"] == "UNESCAPE_AND_FORWARD" else 1
        manager: Any = SimpleNamespace(
            normalize_path=SimpleNamespace(value=said["normalizePath"]),
            merge_slashes=said["mergeSlashes"],
            path_with_escaped_slashes_action=escaped,
        )
        if "upstream_path" in row and normalise(row["path"], manager) != row["upstream_path"]:
            wrong.append((row["mode"], row["path"], normalise(row["path"], manager), row["upstream_path"]))
    assert wrong == []
