"""The definitions of Istio's kinds: that they know every field, and refuse nothing that is right.

Whether an API server takes them, and what it then refuses, `tests/cluster` asks a real one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator

from pilotfish.config import load
from pilotfish.config.schema import messages
from pilotfish.install.crds import build_crds
from pilotfish.model import Kind
from pilotfish.model.kinds import KINDS
from tests.config.test_conformance import CASES

ISTIOS = [kind for kind in KINDS if kind.is_istio]
DEFINITIONS = {crd["metadata"]["name"]: crd for crd in build_crds({"app": "a"})}


def _schema(kind: Kind) -> dict[str, Any]:
    schema: dict[str, Any] = DEFINITIONS[kind.qualified_plural]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def _validator(kind: Kind) -> Validator:
    return Draft202012Validator(_schema(kind))


@pytest.mark.parametrize("kind", ISTIOS, ids=str)
def test_every_kind_of_istios_is_defined_with_all_its_versions(kind: Kind) -> None:
    spec = DEFINITIONS[kind.qualified_plural]["spec"]
    assert [version["name"] for version in spec["versions"]] == list(kind.versions)
    assert [version["name"] for version in spec["versions"] if version["storage"]] == [kind.versions[0]]
    assert all(version["subresources"] == {"status": {}} for version in spec["versions"])
    assert spec["names"]["kind"] == kind.name
    assert tuple(spec["names"].get("shortNames", ())) == kind.shorts


def _missing(schema: Mapping[str, Any], message: str, path: str) -> Iterator[str]:
    """Fields of the API that the schema would take for slips of the pen."""
    while "items" in schema or "additionalProperties" in schema:
        schema = schema.get("items") or schema["additionalProperties"]
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    for name, held in messages()[message].items():
        if name not in schema["properties"]:
            yield f"{path}.{name}"
        elif held:
            yield from _missing(schema["properties"][name], held, f"{path}.{name}")


@pytest.mark.parametrize("kind", ISTIOS, ids=str)
def test_no_field_of_the_api_is_unknown(kind: Kind) -> None:
    spec = _schema(kind)["properties"]["spec"]
    assert list(_missing(spec, messages()[kind.qualified]["spec"], "spec")) == []


def _structural(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    for held in schema.get("properties", {}).values():
        yield from _structural(held)
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield from _structural(schema[name])


@pytest.mark.parametrize("kind", ISTIOS, ids=str)
def test_each_schema_says_its_type(kind: Kind) -> None:
    free = ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string")
    assert [each for each in _structural(_schema(kind)) if "type" not in each and not any(map(each.get, free))] == []


def test_explain_has_the_words_of_the_docstrings() -> None:
    http = _spec_of("VirtualService")["http"]["items"]
    assert http["description"] == "`match` entries are alternatives; none at all matches every request."
    backoff = http["properties"]["retries"]["properties"]["backoff"]
    assert backoff["description"] == "The longest pause before the first retry; it doubles with each."
    assert http["properties"]["mirror_percent"]["description"] == "Another spelling of mirrorPercent."
    assert (
        "Envoy makes no HTTP/2 errors"
        in http["properties"]["fault"]["properties"]["abort"]["properties"]["http2Error"]["description"]
    )


def test_a_kind_without_effect_says_so() -> None:
    telemetry = next(kind for kind in ISTIOS if kind.name == "Telemetry")
    assert _schema(telemetry)["description"].startswith("Telemetry is not supported yet; it has no effect")


def _spec_of(name: str) -> dict[str, Any]:
    kind = next(kind for kind in ISTIOS if kind.name == name)
    properties: dict[str, Any] = _schema(kind)["properties"]["spec"]["properties"]
    return properties


@pytest.mark.skipif(not CASES, reason="Istio's validation cases are not here")
def test_what_validation_takes_the_schemas_take() -> None:
    """Rules in CEL aside: those an API server runs."""
    kinds = {kind.name: _validator(kind) for kind in ISTIOS}
    taken = 0
    for document, _ in (case.values for case in CASES):
        if load(json.dumps(document), "-").manifests:
            found = [error.message for error in kinds[document["kind"]].iter_errors(_without_nulls(document))]
            assert found == [], document
            taken += 1
    assert taken > 150


def _without_nulls(value: Any) -> Any:
    """As an API server takes them out."""
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
