"""docs/api.md: it is up to date, it leaves out no field, and each field fares as it says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pilotfish.config.kinds import STRUCTS
from pilotfish.config.loading import load
from pilotfish.config.meshconfig import load_mesh_config
from pilotfish.config.schema import messages
from pilotfish.model import Problem
from pilotfish.model.kinds import UNSUPPORTED
from tests.docs.api import PASSED_OVER, SAID, WORKS, render_api

DOCUMENT = Path(__file__).parents[2] / "docs" / "api.md"
_FIELDS = re.compile(r"(?<=from what decodes them -->\n).*(?=<!-- end of fields -->)", re.DOTALL)
_ROW = re.compile(r"^\| (?P<fields>`[^|]*)\|[^|]*\|(?P<said>[^|]*)\|$", re.MULTILINE)
_KINDS = {str(kind): kind for kind in STRUCTS}
_MESH_CONFIG = "meshConfig"

every_kind = pytest.mark.parametrize("kind", [*_KINDS, _MESH_CONFIG])


def test_it_is_up_to_date(request: pytest.FixtureRequest) -> None:
    text = DOCUMENT.read_text()
    found = _FIELDS.search(text)
    assert found is not None, "the marks around the fields are gone"
    if request.config.getoption("--update-docs", default=False):
        DOCUMENT.write_text(text[: found.start()] + render_api() + text[found.end() :])
        return
    assert found[0] == render_api(), "run: pytest tests/docs --update-docs"


@every_kind
def test_it_has_every_field(kind: str) -> None:
    root = "mesh.MeshConfig" if kind == _MESH_CONFIG else _KINDS[kind].qualified
    assert list(_lacking(root, "", _rows(kind))) == []


def _lacking(message: str, prefix: str, rows: dict[str, str]) -> Iterator[str]:
    """The fields of a message that stand in no row. Where a row says that it is as another, that one has them."""
    for name, held in messages()[message].items():
        path = f"{prefix}{name}"
        inside = next((f"{path}{suffix}." for suffix in ("", "[]", "[KEY]") if _begins(rows, f"{path}{suffix}.")), "")
        if inside:
            yield from _lacking(held, inside, rows) if held else ()
        elif not rows.keys() & {path, f"{path}[]", f"{path}[KEY]"}:
            yield path


def _begins(rows: dict[str, str], prefix: str) -> bool:
    return any(path.startswith(prefix) for path in rows)


@every_kind
def test_each_field_fares_as_it_says(kind: str) -> None:
    wrong = {path: said for path, said in _rows(kind).items() if said and not _holds(kind, path, said)}
    assert wrong == {}


def _holds(kind: str, path: str, said: str) -> bool:
    """Whether what is reported of the field, with a value that nobody means, is what the row says."""
    at = path.replace("[]", "[0]").replace("[KEY]", "[key]")
    reported = [
        problem
        for problem in _problems(kind, _document(path))
        if problem.field == at and problem.reason in ("UnknownField", "UnsupportedField")
    ]
    if said.startswith(WORKS) or said == PASSED_OVER:
        return reported == []
    (problem,) = reported
    head, _, consequence = said.partition(": ")
    return head == SAID[problem.severity] and consequence.startswith(problem.message)


def _problems(kind: str, document: Any) -> tuple[Problem, ...]:
    if kind == _MESH_CONFIG:
        return load_mesh_config(json.dumps(document), "mesh.yaml")[1]
    head = {"apiVersion": _KINDS[kind].api_versions[0], "kind": kind}
    named = {"metadata": {"name": "x", "namespace": "x", **document.pop("metadata", {})}}
    return load(json.dumps(head | named | document), "in.yaml").problems


def _document(path: str) -> Any:
    """One that has the field, and as little else as there can be."""
    value: Any = "a value that nobody means"
    for step in reversed(re.findall(r"[^.\[\]]+|\[\]|\[KEY\]", path)):
        value = [value] if step == "[]" else {"key" if step == "[KEY]" else step: value}
    return value


@cache
def _rows(kind: str) -> dict[str, str]:
    """Path → what its row says. metadata is shown once."""
    sections = {part.partition("\n")[0]: part for part in DOCUMENT.read_text().split("\n## ")}
    parts = [sections[kind], *([] if kind == _MESH_CONFIG else [sections["metadata"]])]
    found = (row for part in parts for row in _ROW.finditer(part))
    return {path: row["said"].strip() for row in found for path in re.findall(r"`([^`]+)`", row["fields"])}


def test_it_has_every_kind() -> None:
    text = DOCUMENT.read_text()
    assert {str(kind) for kind in UNSUPPORTED} == set(re.findall(r"^\| (\w+) \| `", text, re.MULTILINE))
    assert [*_KINDS] == [title for title in re.findall(r"^## (\w+)$", text, re.MULTILINE) if title in _KINDS]
