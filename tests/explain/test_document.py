"""The JSON of a way: what its schema says, and what a schema can't say."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from pilotfish.explain.ask import parse
from pilotfish.explain.document import build_document, read_schema
from pilotfish.explain.trace import End, Side, Stage, Verdict
from tests.explain.test_walk import way

WAYS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("client", "http://web/web", {}),
    ("client", "http://web/half", {}),
    ("client", "http://web/v3", {}),
    ("client", "https://web/", {"alpn": "h2"}),
    ("client", "web:90", {"server_first": True}),
    ("client", "http://nobody/", {}),
    ("client", "http://nobody.vm.svc.cluster.local/", {}),
    ("client", "http://web:81/", {}),
    ("past", "http://web/web", {}),
    ("bare", "http://empty/", {"headers": ["X: y"], "method": "POST", "uid": 7, "source": "10.0.0.9"}),
    ("", "http://web/", {}),
)


@pytest.mark.parametrize(("source", "to", "options"), WAYS)
def test_a_document_is_as_its_schema_says_and_a_tree(source: str, to: str, options: dict[str, Any]) -> None:
    document = build_document(source or "outside", parse(to, **options), way(source, to, **options), {})
    document = json.loads(json.dumps(document))
    jsonschema.validate(document, read_schema())
    steps, outcomes = document["steps"], document["outcomes"]
    assert [step["id"] for step in steps] == list(range(len(steps)))
    assert all(step["parent"] is None or step["parent"] < step["id"] for step in steps)
    assert sum(outcome["probability"] for outcome in outcomes) == pytest.approx(1)
    assert all(0 <= outcome["last_step"] < len(steps) for outcome in outcomes)
    endings = [outcome["last_step"] for outcome in outcomes]
    parents = {step["parent"] for step in steps}
    assert {step["id"] for step in steps} - parents == set(endings), "every branch ends"
    assert [end for end in endings if end in parents] == []
    for outcome in outcomes:
        assert ("status" in outcome) is (outcome["kind"] == "response")
        assert outcome["probability"] == pytest.approx(steps[outcome["last_step"]]["probability"])


def test_replicas_of_equal_weight_are_an_outcome_each() -> None:
    document = build_document("client", parse("http://web/web"), way("client", "http://web/web"), {})
    assert [(each["pod"], each["probability"]) for each in document["outcomes"]] == [
        ("web-1.vm", 0.5),
        ("web-2.vm", 0.5),
    ]


def test_the_words_of_the_schema_are_those_that_are_used() -> None:
    schema = read_schema()["properties"]
    step = schema["steps"]["items"]["properties"]
    for words, enum in ((step["stage"], Stage), (step["verdict"], Verdict), (step["side"], Side)):
        assert words["enum"] == [each.value for each in enum]
    assert schema["outcomes"]["items"]["properties"]["kind"]["enum"] == [each.value for each in End]


@pytest.mark.parametrize(
    ("to", "options", "request_"),
    [
        (
            "http://web/a?b=c",
            {"headers": ["User: jason"]},
            {
                "from": "client.vm", "url": "http://web/a?b=c", "host": "web", "port": 80, "application": "http",
                "method": "GET", "path": "/a?b=c", "headers": {"host": "web", "user": "jason"},
            },
        ),
        ("web:90", {}, {"from": "client.vm", "url": "tcp://web:90", "host": "web", "port": 90, "application": "tcp"}),
    ],
)  # fmt: skip
def test_the_request(to: str, options: dict[str, Any], request_: dict[str, Any]) -> None:
    assert build_document("client.vm", parse(to, **options), way("client", to, **options), {})["request"] == request_
