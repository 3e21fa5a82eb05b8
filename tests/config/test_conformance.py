"""Istio's own validation cases, as far as the fields go that pilotfish supports."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pilotfish.config import load

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "validation"
KINDS = (
    "virtualservice",
    "destinationrule",
    "serviceentry",
    "workloadentry",
    "gateway",
    "sidecar",
    "workloadgroup",
    "proxyconfig",
    "peerauthentication",
    "authorizationpolicy",
    "requestauthentication",
)


def _cases() -> Iterator[Any]:
    for kind in KINDS:
        path = DATA / f"{kind}.yaml"
        if not path.exists():
            continue
        with path.open() as file:
            table = yaml.load(file, yaml.CSafeLoader)
        base = {key: table[key] for key in ("apiVersion", "kind")}
        for case in table["cases"]:
            metadata = {**table["metadata"], **(case.get("metadata") or {})}
            document = {**base, "metadata": metadata, "spec": case["spec"]}
            for long in case.get("generate", ()):
                _generate(document, **long)
            yield pytest.param(document, case["valid"], id=f"{kind}: {case['name']}")


def _generate(document: dict[str, Any], path: str, repeat: str, count: int, encoding: str = "") -> None:
    """Put a value at its place that is too long to be written out."""
    *way, last = path.replace("[0]", ".0").split(".")
    place: Any = document
    for step in way:
        place = place[int(step) if step.isdecimal() else step]
    made = repeat * count
    place[last] = b64encode(made.encode()).decode() if encoding == "base64" else made


CASES = list(_cases())


@pytest.mark.skipif(not CASES, reason="Istio's validation cases are not here")
def test_all_cases_are_there() -> None:
    assert len(CASES) > 300


@pytest.mark.parametrize(("document", "valid"), CASES)
def test_verdict_is_istios(document: dict[str, Any], valid: bool) -> None:
    loaded = load(json.dumps(document), "case.json")
    errors = [problem for problem in loaded.problems if problem.severity == "error"]
    if valid:
        assert {problem.reason for problem in errors} <= {"UnsupportedField"}, [str(p) for p in errors]
        assert loaded.manifests or errors
    else:
        assert loaded.manifests == ()
        assert errors


def _documents() -> Iterator[Any]:
    path = DATA / "documents.yaml"
    for case in yaml.safe_load(path.read_text()) if path.exists() else ():
        yield pytest.param(json.loads(json.dumps(case["resource"], default=str)), case["valid"], id=case["name"])


@pytest.mark.parametrize(("document", "valid"), list(_documents()))
def test_whole_documents_are_judged_as_by_istio(document: dict[str, Any], valid: bool) -> None:
    """Kinds that have no effect here are refused with what is invalid of them unsaid."""
    document["metadata"].setdefault("namespace", "bar")
    loaded = load(json.dumps(document), "case.json")
    errors = {problem.reason for problem in loaded.problems if problem.severity == "error"}
    if valid:
        assert errors <= {"UnsupportedField", "UnsupportedKind"}
    else:
        assert errors
        assert loaded.manifests == () or errors == {"UnsupportedKind"}
