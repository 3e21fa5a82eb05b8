"""A real API server with the definitions of Istio's kinds: it takes what validation takes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.config import load
from pilotfish.install.crds import build_crds
from pilotfish.model import Severity
from pilotfish.model.kinds import KINDS, SUPPORTED
from tests.cluster.conftest import MakeApiServer
from tests.cluster.kubectl import Kubectl
from tests.cluster.posting import Poster
from tests.config.test_conformance import CASES
from tests.fuzz.mutation import mutated
from tests.fuzz.objects import right_objects
from tests.fuzz.profile import fuzzed

_ROOT = Path(__file__).parents[2]
_KINDS = [kind for kind in KINDS if kind.is_istio]
_ISTIOS = {f"{kind} {version}" for kind in _KINDS for version in kind.api_versions}

Document = dict[str, Any]


@pytest.fixture
def kubectl_of_istios(make_api_server: MakeApiServer) -> Iterator[tuple[Kubectl, Poster]]:
    with make_api_server() as server:
        kubectl = server.api.kubectl
        kubectl("create", "--filename", "-", stdin=yaml.safe_dump_all(build_crds({}), sort_keys=False))
        kubectl.wait("condition=Established", "crd", "--all")
        judge = Poster(server.api)
        try:
            yield kubectl, judge
        finally:
            judge.close()


def _written() -> list[Document]:
    """Every object of Istio's kinds among the examples and the tests' manifests, and Istio's own cases."""
    files = [*_ROOT.glob("examples/**/*.yaml"), *_ROOT.glob("tests/**/*.yaml"), *_ROOT.glob("bench/**/*.yaml")]
    found = [document for file in sorted(files) for document in _documents(file)]
    return [*found, *(case.values[0] for case in CASES)]


def _documents(file: Path) -> Iterator[Document]:
    try:
        documents = list(yaml.load_all(file.read_text(), yaml.CSafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError):
        return
    for document in documents:
        if _is_istios(document):
            yield document


def _is_istios(document: Any) -> bool:
    """One that an API server knows where to put."""
    if not isinstance(document, dict) or not isinstance(metadata := document.get("metadata"), dict):
        return False
    written = f"{document.get('kind')} {document.get('apiVersion')}"
    return written in _ISTIOS and isinstance(metadata.get("name"), str) and bool(metadata["name"])


def _errors(document: Document) -> set[str]:
    """Reasons for which it is not used. (Of what is a template, not each is told.)"""
    loaded = load(json.dumps(document, default=str), "-")
    errors = {problem.reason for problem in loaded.problems if problem.severity is Severity.ERROR}
    return errors or ({"Unused"} if not loaded.manifests and document["kind"] in map(str, SUPPORTED) else set())


def test_what_validation_takes_the_api_server_takes(kubectl_of_istios: tuple[Kubectl, Poster]) -> None:
    """And of what it refuses for its form, the API server takes nothing."""
    _, judge = kubectl_of_istios
    refused, taken, counts = [], [], Counter[str]()
    for document in _written():
        document = json.loads(json.dumps(document, default=str))
        errors, refusal = _errors(document), judge.refusal(document)
        counts["valid" if not errors else "invalid"] += 1
        counts["refused"] += bool(refusal)
        if refusal and not errors:
            refused.append((document, refusal))
        if not refusal and "UnknownField" in errors:
            taken.append((document, errors))
    assert refused == []
    assert taken == []
    assert counts["valid"] > 100, counts
    _explains(kubectl_of_istios[0])
    _anything(judge)


def _explains(kubectl: Kubectl) -> None:
    """`kubectl explain` has the words of the structs."""
    said = " ".join(kubectl("explain", "virtualservices.spec.http.retries.backoff").split())
    assert "The longest pause before the first retry; it doubles with each." in said
    assert "has no effect" in kubectl("explain", "telemetries")
    said = kubectl.refused(
        "create", "--filename", "-", stdin=json.dumps(_VIRTUAL_SERVICE | {"spec": {"hosts": ["a"], "htpp": []}})
    )
    assert 'unknown field "spec.htpp"' in said
    two = {"route": [{"destination": {"host": "a"}}], "redirect": {"uri": "/"}}
    said = kubectl.refused(
        "create", "--filename", "-", stdin=json.dumps(_VIRTUAL_SERVICE | {"spec": {"hosts": ["a"], "http": [two]}})
    )
    assert "exactly one of route, redirect, directResponse, delegate must be set" in said


_VIRTUAL_SERVICE: Document = {
    "apiVersion": "networking.istio.io/v1beta1",
    "kind": "VirtualService",
    "metadata": {"name": "a"},
}


def _anything(judge: Poster) -> None:
    """The same of what nobody thought of."""

    @fuzzed(80)
    @given(right_objects([kind for kind in SUPPORTED if kind.is_istio]))
    def right(document: Document) -> None:
        if _is_istios(document) and not _errors(document):
            assert judge.refusal(document) == "", document

    @fuzzed(80)
    @given(mutated(st.sampled_from(_written())))
    def wrong(document: Any) -> None:
        if _is_istios(document) and not _errors(document):
            assert judge.refusal(document) == "", document

    right()
    wrong()
