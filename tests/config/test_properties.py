"""Whatever a user writes: objects or Problems, never an exception."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotfish.config import ListReader, load, load_mesh_config, proxy_config
from pilotfish.config.mesh import ProxyConfig
from pilotfish.model import Severity, Source
from pilotfish.model.kinds import POD
from tests.fuzz.mutation import VALUES, mutated


def _documents() -> list[dict[str, Any]]:
    files = sorted((Path(__file__).parent / "problems").glob("*.yaml"))
    documents = [d for file in files for d in yaml.load_all(file.read_text(), yaml.CSafeLoader)]
    return [d for d in documents if isinstance(d, dict)]


DOCUMENTS = _documents()


MUTATED = mutated(st.sampled_from(DOCUMENTS))


def _check(text: str) -> None:
    loaded = load(text, "a.yaml")
    errors = [problem for problem in loaded.problems if problem.severity is Severity.ERROR]
    used = {manifest.ref for manifest in loaded.manifests}
    # A template is said once of a whole text.
    is_template = any(problem.reason == "Template" for problem in loaded.problems)
    assert is_template or loaded.broken <= {problem.ref for problem in errors}
    assert not used & loaded.broken
    for problem in loaded.problems:
        assert problem.reason
        assert problem.message
        assert problem.source is not None
        assert 1 <= problem.source.line <= len(text.splitlines()) + 1
        assert str(problem)


@given(st.text())
def test_any_text(text: str) -> None:
    _check(text)


@given(VALUES)
def test_any_value(value: object) -> None:
    _check(json.dumps(value))
    _check(yaml.safe_dump(value))
    load_mesh_config(json.dumps(value), "-")
    proxy_config(json.dumps(value), ProxyConfig(), POD.ref("a", "b"), Source("-", 1))


@settings(max_examples=400)
@given(MUTATED)
def test_any_change_of_an_object(document: object) -> None:
    _check(json.dumps(document, indent=1))


@given(st.lists(MUTATED, max_size=3))
def test_a_list_reader_reads_what_load_reads(documents: list[object]) -> None:
    data = json.dumps({"kind": "List", "items": documents}).encode()
    reader = ListReader("a.json")
    for _ in range(2):
        assert reader.read(data).manifests == load(data.decode(), "a.json").manifests


@given(st.binary())
def test_any_bytes_as_a_list(data: bytes) -> None:
    ListReader().read(data)
    ListReader().read(b'{"kind":"List","items":[' + data + b"]}")
