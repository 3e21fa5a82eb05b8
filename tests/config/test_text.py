from __future__ import annotations

from typing import Any

import pytest
import yaml

from pilotfish.config import building
from pilotfish.config.text import ParsedDocument, read, read_in_pieces


def _read(text: str) -> list[ParsedDocument]:
    return list(read(text, "a.yaml"))


def _value(text: str) -> Any:
    (document,) = _read(text)
    assert document.faults == ()
    return document.value


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("text", "text"),
        ("80", 80),
        ("-0x1F", -31),
        ("0644", 420),
        ("0o644", 420),
        ("0b11", 3),
        ("1_000", 1000),
        ("08", 8.0),
        ("1.10", 1.1),
        ("1e3", 1000.0),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", 2.0**64),
        ("yes", True),
        ("Off", False),
        ("~", None),
        ("", None),
        ("'yes'", "yes"),
        ('"80"', "80"),
        ("!!str 80", "80"),
        ("!!int '80'", 80),
        ("22:22", "22:22"),
        ("2026-01-01", "2026-01-01"),
        ("10.96.0.1", "10.96.0.1"),
        ("y", "y"),
        ("+", "+"),
        ("=", "="),
    ],
)
def test_plain_scalars_mean_what_kubernetes_reads(scalar: str, value: object) -> None:
    read = _value(f"a: {scalar}")["a"]
    assert read == value
    assert type(read) is type(value)


def test_documents_are_found_with_their_lines() -> None:
    documents = _read("# first\n---\n\na: 1\n---\n# nothing\n--- # here\nb: 2\n...\n---\n--- {c: 3}\n")
    assert [(d.value, d.line) for d in documents] == [({"a": 1}, 4), ({"b": 2}, 8), ({"c": 3}, 11)]


def test_a_slip_in_one_document_leaves_the_others() -> None:
    documents = _read("a: 1\n---\nb: [1\nc: 2\n---\nd: 3\n")
    assert [d.value for d in documents] == [{"a": 1}, None, {"d": 3}]
    (fault,) = documents[1].faults
    assert fault.reason == "SyntaxError"
    assert fault.line in (3, 4)


def test_lines_of_fields() -> None:
    (document,) = _read("---\nspec:\n  ports:\n  - name: a\n    port: 1\n  - {name: b,\n     port: 2}\n  x.y/z: 5\n")
    lines = {
        "spec": 2,
        "spec.ports[0]": 4,
        "spec.ports[0].port": 5,
        "spec.ports[1].port": 7,
        "spec[x.y/z]": 8,
        "spec.ports[1].missing": 6,
        "spec.ports[7]": 3,
        "": 2,
    }
    assert {path: document.positions.line(path) for path in lines} == lines
    assert document.positions.text("spec.ports[0].port") == "1"
    assert document.positions.text("spec.ports") is None


def test_lines_of_json() -> None:
    (document,) = read('{"a": {\n\t"b": 1,\n\t"c": [2]}}', "x.json")
    assert document.value == {"a": {"b": 1, "c": [2]}}
    assert document.positions.line("a.c[0]") == 3


def test_a_key_that_stands_twice_is_said_in_yaml_and_in_json() -> None:
    for text in ("a:\n  b: 1\n  b: 2\n", '{"a": {\n"b": 1,\n"b": 2}}'):
        (document,) = _read(text)
        (fault,) = document.faults
        assert (fault.reason, fault.path, fault.line) == ("DuplicateKey", "a.b", 3)


def test_anchors_and_merge_keys() -> None:
    assert _value("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}\ne: {<<: [{f: 1}, *x]}\ng: *x") == {
        "a": {"b": 1, "c": 2},
        "d": {"b": 1, "c": 3},
        "e": {"f": 1, "b": 1, "c": 2},
        "g": {"b": 1, "c": 2},
    }


def _laughs() -> str:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for one, next_ in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{next_}: &{next_} [{', '.join([f'*{one}'] * 10)}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        _laughs(),
        "&a [*a]",
        "[" * 100_000,
        "{a: " * 100_000,
        "- " * 50_000,
        "\n".join(" " * depth + "a:" for depth in range(500)),
        "a: \x00",
        "a: \ud800",
        "a: *nothing",
        "\t- a",
        "a: 'b",
        '{"a": 1',
        "[" * 100_000 + "]" * 100_000,
    ],
    ids=range(13),
)
def test_texts_that_cannot_be_read_are_said_and_do_no_harm(text: str) -> None:
    (document,) = _read(text)
    assert document.value is None
    assert [fault.reason for fault in document.faults] == ["SyntaxError"]


@pytest.mark.parametrize("text", ["a: !custom 1", "? [a]\n: 1", "a: {<<: 1}", "a: !!int x"])
def test_what_yaml_has_and_manifests_do_not(text: str) -> None:
    (document,) = _read(text)
    assert len(document.faults) == 1


@pytest.mark.parametrize("text", ["", "\n\n", "# only this\n", "---\n---\n", "%YAML 1.1\n---\n", "null", "\ufeff"])
def test_empty_texts_hold_nothing(text: str) -> None:
    assert _read(text) == []


def test_many_blank_lines_are_read_at_once() -> None:
    assert _value("\n" * 100_000 + "a: 1") == {"a": 1}


def test_the_reader_in_python_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "a: &x [1, yes, '2']\nb: {c: *x}\n---\n[\n"
    fast = [(d.value, d.line) for d in _read(text)]
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    building._parser.cache_clear()
    try:
        assert [(d.value, d.line) for d in _read(text)] == fast
    finally:
        building._parser.cache_clear()


BOUNDED = {
    "values": "a: [" + "x, " * 1_100_000 + "x]",
    "documents": "---\na\n" * 60_000,
    "lines": "a: '" + "\n" * 300_000 + "'",
    "a line": "a" * 2_000_000 + ": 1",
    "characters": "a: |\n" + f"  {'x' * 98}\n" * 100_000,
}


@pytest.mark.parametrize("text", BOUNDED.values(), ids=BOUNDED)
def test_too_much_is_said_and_not_read(text: str) -> None:
    (document,) = _read(text)
    (fault,) = document.faults
    assert document.value is None
    assert "divide it into several" in fault.message or "more than" in fault.message


def test_what_a_text_costs_comes_in_pieces() -> None:
    pauses = sum(document is None for document in read_in_pieces("a:\n" + "- {b: c}\n" * 20_000, "a.yaml"))
    assert pauses > 50


@pytest.mark.parametrize("text", ['{"a": "\\ud800"}', '{"\\uD800": 1}'])
def test_half_a_character_is_not_read(text: str) -> None:
    (document,) = read(text, "a.json")
    assert [fault.reason for fault in document.faults] == ["SyntaxError"]


def test_json_is_read_as_yaml_is() -> None:
    (document,) = read('{"a": "\\ud83d\\ude00", "b": 100000000000000000000}', "a.json")
    assert document.value == {"a": "\U0001f600", "b": 1e20}
    assert [each.value for each in read('{"c": NaN}', "a.json")] == [{"c": "NaN"}]
