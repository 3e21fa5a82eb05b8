"""Questions of an API server, and what they are answered: bytes in, bytes out."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from pilotfish.cluster.review import Answer, ReviewError, parse_review, render_answer
from pilotfish.cluster.validation import judge

GOOD = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "shop", "namespace": "vm"},
    "spec": {"hosts": ["shop"], "http": [{"route": [{"destination": {"host": "shop"}}]}]},
}
BROKEN = {**GOOD, "spec": {**GOOD["spec"], "http": [{"match": [{"uri": {"regex": "["}}]}]}}  # type: ignore[dict-item]


def asked(operation: str = "CREATE", **request: Any) -> bytes:
    kind = {"group": "networking.istio.io", "version": "v1", "kind": "VirtualService"}
    fields = {"uid": "u1", "kind": kind, "operation": operation, "namespace": "vm", "name": "shop", **request}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": fields}).encode()


def answer(body: bytes) -> Answer:
    return judge(parse_review(body))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no AdmissionReview"),
        (b"[]", "no AdmissionReview"),
        (b"[" * 100_000, "no AdmissionReview"),
        (b'{"apiVersion": "v1", "kind": "Pod"}', "no AdmissionReview of admission.k8s.io/v1"),
        (b'{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"}', r"admissionReviewVersions: \[v1\]"),
        (b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}', "no request"),
        (b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {}}', "uid"),
        (b"\xff", "no AdmissionReview"),
    ],
)
def test_what_is_no_question(body: bytes, why: str) -> None:
    with pytest.raises(ReviewError, match=why):
        parse_review(body)


def test_an_answer_bears_the_questions_number_and_the_patch_in_base64() -> None:
    patch = [{"op": "remove", "path": "/a"}]
    document = json.loads(render_answer("u1", Answer(patch=patch, warnings=("beware",))))
    response = document["response"]
    assert document["apiVersion"] == "admission.k8s.io/v1"
    assert (response["uid"], response["allowed"], response["warnings"]) == ("u1", True, ["beware"])
    assert json.loads(base64.b64decode(response["patch"])) == patch
    assert response["patchType"] == "JSONPatch"


def test_a_refusal_says_why_and_is_bounded() -> None:
    response = json.loads(render_answer("u1", Answer.refuse(["x" * 5_000], ("y" * 3_000, "z" * 3_000))))["response"]
    assert not response["allowed"]
    assert response["status"]["code"] == 422
    assert len(response["status"]["message"]) == 4_000
    assert response["warnings"] == ["y" * 3_000]


def test_an_object_is_judged_as_validate_judges_it() -> None:
    assert answer(asked(object=GOOD)) == Answer()
    refused = answer(asked(object=BROKEN))
    assert not refused.allowed
    assert refused.message.startswith("error: VirtualService vm/shop spec.http[0].match[0].uri.regex: ")


def test_an_object_that_is_yet_to_get_its_name_is_named_by_its_beginning() -> None:
    unnamed = {**BROKEN, "metadata": {"generateName": "shop-"}}
    assert "VirtualService vm/shop-unnamed" in answer(asked(name="", object=unnamed)).message
    assert answer(asked(name="", object={**GOOD, "metadata": {"generateName": "shop-"}})).allowed


@pytest.mark.parametrize(
    "body",
    [
        asked("DELETE", oldObject=BROKEN),
        asked("UPDATE", object={**BROKEN, "metadata": {"name": "shop", "labels": {"a": "b"}}}, oldObject=BROKEN),
        asked("UPDATE", object=BROKEN, oldObject=GOOD, subResource="status"),
        asked(
            "UPDATE", object={**BROKEN, "metadata": {"name": "shop", "deletionTimestamp": "2026-01-01"}}, oldObject=GOOD
        ),
    ],
    ids=["deleted", "its labels", "its status", "on its way out"],
)
def test_what_changes_no_spec_is_never_held_up(body: bytes) -> None:
    assert answer(body) == Answer()


def test_a_kind_without_effect_is_stored_and_said_to_have_none() -> None:
    kind = {"group": "telemetry.istio.io", "version": "v1", "kind": "Telemetry"}
    telemetry = {"apiVersion": "telemetry.istio.io/v1", "kind": "Telemetry", "metadata": {"name": "shop"}, "spec": {}}
    said = answer(asked(kind=kind, object=telemetry))
    assert said.allowed
    assert "it has no effect" in said.warnings[0]


def test_a_spec_that_becomes_wrong_is_refused() -> None:
    assert not answer(asked("UPDATE", object=BROKEN, oldObject=GOOD)).allowed


def test_what_an_api_server_keeps_for_itself_counts_for_nothing() -> None:
    fields: dict[str, object] = {f"f:{number}": {} for number in range(60_000)}
    metadata = {"name": "shop", "managedFields": [{"manager": "kubectl", "fieldsV1": fields}]}
    assert answer(asked(object={**GOOD, "metadata": metadata})) == Answer()


def test_the_status_is_not_held_against_who_changes_the_rest() -> None:
    """A leader has written it, and the API server hands it on with the object."""
    kind = {"group": "networking.istio.io", "version": "v1", "kind": "ServiceEntry"}
    status = {"conditions": [{"type": "Reconciled", "status": "True"}], "of-another": {"tools": 1}}
    metadata = {"name": "api", "namespace": "vm"}
    head = {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": metadata, "status": status}
    before, now = ({**head, "spec": {"hosts": [host], "ports": [{"number": 80, "name": "http"}]}} for host in "ab")
    assert answer(asked("UPDATE", kind=kind, object=now, oldObject=before)).allowed
