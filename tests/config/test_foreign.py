"""Each file of `foreign/` is what may stand beside manifests. The line before that of its only problem says which:
`#! SEVERITY REASON WORDS`; a file without such a line has none, JSON has its own line here."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotfish.config import load

FILES = sorted((Path(__file__).parent / "foreign").iterdir())
NO_OBJECTS = ("template.yaml", "template-that-is-yaml.yaml", "variable.yaml", "variable-with-default.yaml", "tab.yaml")
"""Objects are meant in these."""
_JSON = ["info NotAnObject neither apiVersion nor kind"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_file_is_called_what_it_is_once_and_with_what_to_do(path: Path) -> None:
    text = path.read_text()
    loaded = load(text, str(path))
    marks = [line.removeprefix("#! ") for line in text.splitlines() if line.startswith("#! ")]
    expected = _JSON if path.suffix == ".json" else marks
    assert [(str(p.severity), p.reason) for p in loaded.problems] == [tuple(e.split(" ")[:2]) for e in expected]
    for problem, words in zip(loaded.problems, expected, strict=True):
        assert words.split(" ", 2)[2] in problem.message
        assert "add it" not in problem.message
        assert problem.source is not None
        assert path.suffix == ".json" or text.splitlines()[problem.source.line - 2].startswith("#! ")
    assert loaded.manifests == () or path.name == "alerts.yaml"
    assert (loaded.incomplete or bool(loaded.broken)) == (path.name in NO_OBJECTS)


def test_a_slip_beside_a_template_is_said_too() -> None:
    text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 0}]}\n---\n"
    loaded = load(text + "{{ if .Values.a }}\na: b\n", "a.yaml")
    assert [problem.reason for problem in loaded.problems] == ["InvalidValue", "Template"]


@pytest.mark.parametrize("name", ["a.yaml", "kind.yaml", "api.yaml"])
@pytest.mark.parametrize(
    "text", ["metadata: {name: a}\nspec: {}", "kind: Service\nmetadata: {name: a}", "kind:Service"]
)
def test_what_seems_to_be_meant_as_an_object_is_an_error(name: str, text: str) -> None:
    loaded = load(text, name)
    assert {str(problem.severity) for problem in loaded.problems} == {"error"}
