"""Patches, on the examples of their specifications."""

from __future__ import annotations

from typing import Any

import pytest

from pilotfish.node.patching import BadPatch, difference, merge, patch

POD: dict[str, Any] = {
    "metadata": {"name": "x", "labels": {"a": "1"}},
    "spec": {
        "containers": [
            {"name": "web", "image": "one", "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]},
            {"name": "side", "image": "two", "ports": [{"containerPort": 80, "name": "http"}]},
        ],
        "tolerations": [{"key": "x"}],
    },
}


@pytest.mark.parametrize(
    ("document", "change", "found"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch(document: Any, change: Any, found: Any) -> None:
    """RFC 7386, appendix A."""
    assert merge(document, change) == found
    assert merge(document, difference(document, found)) == found


def test_a_strategic_patch_merges_lists_by_their_keys() -> None:
    change = {
        "spec": {
            "containers": [
                {
                    "name": "web",
                    "image": "new",
                    "env": [{"name": "A", "$patch": "delete"}, {"name": "C", "value": "3"}],
                },
                {"name": "side", "ports": [{"containerPort": 80, "name": "web"}, {"containerPort": 81}]},
                {"name": "third"},
            ],
            "tolerations": [{"key": "y"}],
        },
        "metadata": {"labels": {"a": None, "b": "2"}},
    }
    found = patch(POD, change, "strategic")
    assert found["metadata"]["labels"] == {"b": "2"}
    assert found["spec"]["containers"] == [
        {"name": "web", "image": "new", "env": [{"name": "B", "value": "2"}, {"name": "C", "value": "3"}]},
        {"name": "side", "image": "two", "ports": [{"containerPort": 80, "name": "web"}, {"containerPort": 81}]},
        {"name": "third"},
    ]
    assert found["spec"]["tolerations"] == [{"key": "y"}]


def test_a_strategic_patch_may_say_how() -> None:
    replaced = {"spec": {"containers": [{"$patch": "replace"}, {"name": "only"}]}}
    assert patch(POD, replaced, "strategic")["spec"]["containers"] == [{"name": "only"}]
    deleted = {"spec": {"containers": [{"name": "web", "$patch": "delete"}]}}
    assert [c["name"] for c in patch(POD, deleted, "strategic")["spec"]["containers"]] == ["side"]
    kept = {"spec": {"$retainKeys": ["tolerations"]}}
    assert patch(POD, kept, "strategic")["spec"] == {"tolerations": [{"key": "x"}]}


@pytest.mark.parametrize(
    ("operations", "found"),
    [
        ([{"op": "add", "path": "/c", "value": 1}], {"a": ["x", "y"], "b/c": {}, "c": 1}),
        ([{"op": "add", "path": "/a/1", "value": "z"}], {"a": ["x", "z", "y"], "b/c": {}}),
        ([{"op": "add", "path": "/a/-", "value": "z"}], {"a": ["x", "y", "z"], "b/c": {}}),
        ([{"op": "replace", "path": "/a/0", "value": "z"}], {"a": ["z", "y"], "b/c": {}}),
        ([{"op": "remove", "path": "/b~1c"}], {"a": ["x", "y"]}),
        ([{"op": "remove", "path": "/a/0"}, {"op": "test", "path": "/a/0", "value": "y"}], {"a": ["y"], "b/c": {}}),
        ([{"op": "move", "from": "/a/0", "path": "/b~1c/d"}], {"a": ["y"], "b/c": {"d": "x"}}),
        ([{"op": "copy", "from": "/a", "path": "/e"}], {"a": ["x", "y"], "b/c": {}, "e": ["x", "y"]}),
    ],
)
def test_a_json_patch(operations: Any, found: Any) -> None:
    document = {"a": ["x", "y"], "b/c": {}}
    assert patch(document, operations, "json") == found
    assert document == {"a": ["x", "y"], "b/c": {}}


@pytest.mark.parametrize(
    ("change", "how"),
    [
        ([1], "merge"),
        ({"a": 1}, "json"),
        ([{"op": "replace", "path": "/nope", "value": 1}], "json"),
        ([{"op": "remove", "path": "/a/7"}], "json"),
        ([{"op": "add", "path": "a", "value": 1}], "json"),
        ([{"op": "add", "path": "/a"}], "json"),
        ([{"op": "test", "path": "/a", "value": 1}], "json"),
        ([{"op": "jump", "path": "/a"}], "json"),
        ([{"op": "remove", "path": ""}], "json"),
        ({"a": 1}, "magic"),
        ({"containers": [{"image": "x"}]}, "strategic"),
    ],
)
def test_what_is_no_patch_is_refused(change: Any, how: str) -> None:
    with pytest.raises(BadPatch):
        patch({"a": ["x"]}, change, how)
