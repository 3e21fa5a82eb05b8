"""kubectl's JSONPath, on the examples of its own page, and on what is not there."""

from __future__ import annotations

from typing import Any

import pytest

from pilotfish.cli.jsonpath import BadPath, parse, parse_path

DOCUMENT: dict[str, Any] = {
    "kind": "List",
    "items": [
        {
            "kind": "None",
            "metadata": {"name": "127.0.0.1", "labels": {"kubernetes.io/hostname": "127.0.0.1"}},
            "status": {"capacity": {"cpu": "4"}, "addresses": [{"type": "LegacyHostIP", "address": "127.0.0.1"}]},
        },
        {
            "kind": "None",
            "metadata": {"name": "127.0.0.2"},
            "status": {
                "capacity": {"cpu": "8"},
                "addresses": [
                    {"type": "LegacyHostIP", "address": "127.0.0.2"},
                    {"type": "another", "address": "127.0.0.3", "weight": 7},
                ],
                "ready": True,
            },
        },
    ],
    "users": [
        {"name": "myself", "user": {}},
        {"name": "e2e", "user": {"username": "admin", "password": "secret"}},
    ],
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("the kind is {.kind}", "the kind is List"),
        ("{@.kind} {$.kind} {['kind']} {kind}", "List List List List"),
        ("{..name}", "127.0.0.1 127.0.0.2 myself e2e"),
        ("{.items[*].metadata.name}", "127.0.0.1 127.0.0.2"),
        ("{.users[0].name}{.users[-1].name}", "myselfe2e"),
        ("{.users[0:1].name}|{.users[:].name}|{.users[1:].name}", "myself|myself e2e|e2e"),
        ("{.items[*]['metadata.name', 'kind']}", "127.0.0.1 127.0.0.2 None None"),
        ("{.items[*]['metadata', 'status']['name', 'ready']}", "127.0.0.1 127.0.0.2 true"),
        ('{.users[?(@.name=="e2e")].user.password}', "secret"),
        ("{.users[?(@.user.username)].name}", "e2e"),
        ("{.items[*].status.addresses[?(@.weight>=7)].address}", "127.0.0.3"),
        ("{.items[*].status.addresses[?(@.type != 'LegacyHostIP')].address}", "127.0.0.3"),
        (r"{.items[*].metadata.labels.kubernetes\.io/hostname}", "127.0.0.1"),
        (r"{.items[*].metadata.labels['kubernetes\.io/hostname']}", "127.0.0.1"),
        ('{range .items[*]}[{.metadata.name}, {.status.capacity}] {end}{"\\n"}',
         '[127.0.0.1, {"cpu":"4"}] [127.0.0.2, {"cpu":"8"}] \n'),
        ('{range .items[*]}{range .status.addresses[*]}{.address}{"\\t"}{end}{$.kind}{end}',
         "127.0.0.1\tList127.0.0.2\t127.0.0.3\tList"),
        ("{.users[1].user}", '{"username":"admin","password":"secret"}'),
        ("{.absent.field}{.items[9].kind}{.items[*].status.ready}", "true"),
        ("no braces", "no braces"),
    ],
)  # fmt: skip
def test_a_template(template: str, text: str) -> None:
    assert parse(template).render(DOCUMENT) == text


@pytest.mark.parametrize("path", [".items[1].metadata.name", "{.items[1].metadata.name}", "items[1].metadata.name"])
def test_a_path_alone(path: str) -> None:
    assert parse_path(path).find(DOCUMENT) == ["127.0.0.2"]


@pytest.mark.parametrize(
    "template", ["{", "{.a", "{.a[}", "{.a[0}", "{range .a}", "{end}", "{.a[?(@.b==)]}", "{.a[?(@.b=='x']}", "{.a b c"]
)
def test_what_is_no_template_is_said(template: str) -> None:
    with pytest.raises(BadPath, match="no JSONPath"):
        parse(template)
