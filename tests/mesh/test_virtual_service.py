"""VirtualServices in neutral form, where a golden case would say too much."""

from __future__ import annotations

from typing import Any

import pytest

from pilotfish.config import istio
from pilotfish.mesh.routes.delegates import own_rules
from pilotfish.mesh.routes.entrance import Entrance
from pilotfish.mesh.routes.retries import DEFAULT_RETRIES
from pilotfish.mesh.routes.virtual_service import lower_http
from pilotfish.mesh.scope import EVERYONE, Scope
from pilotfish.model import Duration
from pilotfish.model.route import Backend, Forward, HTTPMatch, HTTPRoute, MatchType, Retries, StringMatch, Timeouts
from tests.mesh.meshes import NETWORKING, manifest

TO_WEB = {"route": [{"destination": {"host": "web"}}]}


def _lowered(*rules: dict[str, Any], port: int = 80, source: Scope = EVERYONE) -> list[HTTPRoute]:
    made = manifest("VirtualService", "web", "vm", NETWORKING, spec={"hosts": ["web"], "http": [*rules]})
    assert isinstance(made.resource, istio.VirtualService)
    return list(
        lower_http(
            own_rules(made.ref, made.resource.spec), Entrance(port), source, lambda d: Backend(d.host, port, d.subset)
        )
    )


def test_each_alternative_is_a_route_that_knows_where_it_was_written() -> None:
    first = {"name": "a", "match": [{"name": "x", "uri": {"exact": "/x"}}, {"port": 81}, {"method": {"exact": "PUT"}}]}
    found = _lowered(first | TO_WEB, {"name": "rest"} | TO_WEB)
    assert [(route.name, str(route.ref)) for route in found] == [
        ("a.x", "VirtualService vm/web spec.http[0].match[0]"),
        ("a", "VirtualService vm/web spec.http[0].match[2]"),
        ("rest", "VirtualService vm/web spec.http[1]"),
    ]


@pytest.mark.parametrize(
    ("match", "everything"),
    [
        ({"uri": {"prefix": "/"}}, True),
        ({"uri": {"prefix": "/"}, "ignoreUriCase": True}, True),
        ({"uri": {"regex": ".*"}}, True),
        ({"port": 80}, True),
        ({"uri": {"prefix": "/a"}}, False),
        ({"uri": {"exact": "/"}}, False),
        ({"scheme": {"exact": "http"}}, False),
        ({"withoutHeaders": {"x": {}}}, False),
        ({"queryParams": {"x": {"exact": "1"}}}, False),
    ],
)
def test_what_follows_a_route_that_takes_everything_is_left_out(match: dict[str, Any], everything: bool) -> None:
    found = _lowered({"match": [match]} | TO_WEB, {"name": "rest"} | TO_WEB)
    assert found[0].match.matches_everything is everything
    assert [route.name for route in found] == ([""] if everything else ["", "rest"])


@pytest.mark.parametrize(
    ("match", "holds"),
    [
        ({"sourceLabels": {"app": "x"}}, True),
        ({"sourceLabels": {"app": "x", "version": "v1"}}, False),
        ({"sourceNamespace": "shop"}, True),
        ({"sourceNamespace": "vm"}, False),
        ({"gateways": ["edge", "mesh"], "sourceNamespace": "vm"}, True),
        ({"gateways": ["edge"], "sourceNamespace": "shop"}, False),
    ],
)
def test_a_match_is_for_some_clients(match: dict[str, Any], holds: bool) -> None:
    client = Scope("shop", (("app", "x"), ("tier", "y")))
    found = _lowered({"match": [match]} | TO_WEB, {"name": "rest"} | TO_WEB, source=client)
    assert [route.name for route in found] == ([""] if holds else ["rest"])


def test_a_header_that_any_value_will_do_for_must_be_there() -> None:
    (found,) = _lowered({"match": [{"headers": {"A": {}}, "withoutHeaders": {"B": {"regex": "*"}}}]} | TO_WEB)
    assert [(h.name, h.value, h.inverted) for h in found.match.headers] == [
        ("a", StringMatch(MatchType.PRESENT), False),
        ("b", StringMatch(MatchType.PRESENT), True),
    ]


@pytest.mark.parametrize(
    ("rule", "timeouts", "retries"),
    [
        ({}, Timeouts(), DEFAULT_RETRIES),
        ({"timeout": "0s", "retries": {"attempts": 0}}, Timeouts(), None),
        (
            {"timeout": "2s", "retries": {"attempts": 3, "perTryTimeout": "1s"}},
            Timeouts(Duration.parse("2s"), Duration.parse("1s")),
            Retries(3, DEFAULT_RETRIES.conditions),
        ),
        (
            {"retries": {"attempts": 1, "perTryTimeout": "0s", "retryOn": "503, reset ,5xx,504"}},
            Timeouts(),
            Retries(1, ("reset", "5xx"), (503, 504)),
        ),
    ],
)
def test_timeouts_and_retries_are_written_out(rule: dict[str, Any], timeouts: Timeouts, retries: Retries) -> None:
    (found,) = _lowered(rule | TO_WEB)
    assert isinstance(found.action, Forward)
    assert (found.action.timeouts, found.action.retries) == (timeouts, retries)


@pytest.mark.parametrize(("weights", "expected"), [((0,), [1]), ((30,), [1]), ((0, 5), [0, 5])])
def test_a_lone_destination_takes_everything(weights: tuple[int, ...], expected: list[int]) -> None:
    (found,) = _lowered({"route": [{"destination": {"host": "web"}, "weight": weight} for weight in weights]})
    assert isinstance(found.action, Forward)
    assert [weighted.weight for weighted in found.action.backends] == expected


def test_routes_that_mean_the_same_are_equal_and_hash_alike() -> None:
    one, two = (_lowered({"match": [match]} | TO_WEB)[0] for match in ({}, {"uri": {"prefix": "/"}}))
    assert one == two
    assert hash(one) == hash(two)
    assert one.match == HTTPMatch()
