"""What people see of a Secret."""

from __future__ import annotations

from typing import Any

from pilotfish.model.redaction import redacted

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


def document(value: str, **more: Any) -> dict[str, Any]:
    metadata = {"name": "a", "annotations": {ANNOTATION: f"all of it: {value}", "own": "kept"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"key": value, "other": "same"}, **more}


def test_no_value_is_shown_wherever_it_stands() -> None:
    shown: Any = redacted(document("hidden", stringData={"text": "hidden"}))
    assert "hidden" not in str(shown)
    assert "same" not in str(shown)
    assert list(shown["data"]) == ["key", "other"]
    assert shown["metadata"]["annotations"]["own"] == "kept"


def test_what_differs_is_told_apart_without_being_shown() -> None:
    before, after = document("one"), document("two")
    shown: Any = redacted(after, before)
    as_it_was: Any = redacted(before)
    assert shown["data"]["key"] != as_it_was["data"]["key"]
    assert shown["data"]["other"] == as_it_was["data"]["other"]
    assert "one" not in str(as_it_was)
    assert "two" not in str(shown)


def test_other_kinds_are_shown_as_they_are() -> None:
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}
    assert redacted(config_map) == config_map
