"""What is to be done with the WorkloadEntry of a workload that registers itself in a cluster."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pilotfish.config import load
from pilotfish.config.istio import WorkloadGroup
from pilotfish.config.manifest import Manifest
from pilotfish.discovery.registration import GRACE, GROUP, Member
from pilotfish.discovery.workload_entries import (
    CONNECTED,
    CONTROLLER,
    DISCONNECTED,
    Create,
    Delete,
    Document,
    Replace,
    abandoned,
    due,
    with_health,
)
from pilotfish.model import ObjectRef, Proxy

ME, OTHER = "default/istiod-1_aa", "default/istiod-2_bb"
NOW = datetime(2026, 11, 26, 12, 0, 0, 250, UTC)
LATER = NOW + timedelta(seconds=5)
TEXT, LATER_TEXT = "2026-11-26T12:00:00.000250Z", "2026-11-26T12:00:05.000250Z"
GROUP_TEXT = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: reviews, namespace: vm, uid: of-the-group}
spec:
  metadata: {labels: {app: reviews}, annotations: {team: ours}}
  template: {ports: {http: 9080}, serviceAccount: reviews, weight: 3}
  probe: {tcpSocket: {port: 9080}}
"""


def group(text: str = GROUP_TEXT) -> WorkloadGroup:
    (manifest,) = load(text, "group.yaml").manifests
    assert isinstance(manifest.resource, WorkloadGroup)
    return manifest.resource


def member(left_at: float | None = None, account: str = "reviews") -> Member:
    metadata = {"AUTO_REGISTER_GROUP": "reviews", "LABELS": {"version": "v2"}}
    proxy = Proxy.parse("sidecar~fd00::5~machine.vm~vm.svc.cluster.local", metadata)
    assert proxy is not None
    return Member(proxy, account, left_at=left_at)


def made(controller: str = ME) -> dict[str, Any]:
    """As the API server has it."""
    step = due(None, member(), group(), controller, NOW)
    assert isinstance(step, Create)
    return with_metadata(step.document, uid="of-the-entry", resourceVersion="7")


def with_metadata(document: Document, **more: Any) -> dict[str, Any]:
    return {**document, "metadata": {**document["metadata"], **more}}


def with_notes(document: Document, **more: str | None) -> dict[str, Any]:
    notes = {**document["metadata"]["annotations"], **{f"istio.io/{key}": text for key, text in more.items()}}
    return with_metadata(document, annotations={key: text for key, text in notes.items() if text is not None})


def test_one_that_comes_is_written_down() -> None:
    document = made()
    metadata = document["metadata"]
    assert (metadata["name"], metadata["namespace"]) == ("reviews-fd00--5", "vm")
    assert metadata["labels"] == {"app": "reviews", "version": "v2"}
    notes = metadata["annotations"]
    assert notes["team"] == "ours"
    assert notes["proxy.istio.io/health-checks-enabled"] == "true"
    assert (notes[GROUP], notes[CONTROLLER], notes[CONNECTED]) == ("reviews", ME, TEXT)
    assert metadata["ownerReferences"] == [
        {
            "apiVersion": "networking.istio.io/v1",
            "kind": "WorkloadGroup",
            "name": "reviews",
            "uid": "of-the-group",
            "controller": True,
        }
    ]
    spec = {"address": "fd00::5", "labels": metadata["labels"], "ports": {"http": 9080}, "weight": 3}
    assert document["spec"] == {**spec, "serviceAccount": "reviews"}
    assert "status" not in document
    assert due(document, member(), group(), ME, LATER) is None


def test_nothing_is_written_without_its_group_or_for_another_account() -> None:
    assert due(None, member(), None, ME, NOW) is None
    assert due(None, member(account="ratings"), group(), ME, NOW) is None
    unknown = member()
    unknown.proxy = replace(unknown.proxy, vouched=False)
    assert due(None, unknown, group(), ME, NOW) is None


def test_what_somebody_wrote_is_left_alone() -> None:
    own = with_metadata(made(), annotations={})
    for who in (member(), member(left_at=1.0), None):
        assert due(own, who, group(), ME, NOW) is None


@pytest.mark.parametrize(
    "found", [made(OTHER), with_notes(made(), disconnectedAt=TEXT, connectedAt=None)], ids=["moved", "back"]
)
def test_whoever_has_the_proxy_now_stands_in_it(found: dict[str, Any]) -> None:
    found["spec"]["weight"] = 1  # somebody has drained it by hand
    step = due(found, member(), group(), ME, LATER)
    assert isinstance(step, Replace)
    notes = step.document["metadata"]["annotations"]
    assert (notes[CONTROLLER], notes[CONNECTED], DISCONNECTED in notes) == (ME, LATER_TEXT, False)
    assert step.document["metadata"]["resourceVersion"] == "7"
    assert step.document["spec"]["weight"] == 1


def test_what_the_group_comes_to_say_is_written_and_what_others_noted_stays() -> None:
    found = with_notes(made(), note="of somebody's")
    changed = group(GROUP_TEXT.replace("weight: 3", "weight: 4").replace("app: reviews", "app: other"))
    step = due(found, member(), changed, ME, LATER)
    assert isinstance(step, Replace)
    assert step.document["spec"]["weight"] == 4
    assert step.document["metadata"]["labels"] == {"app": "other", "version": "v2"}
    assert step.document["metadata"]["annotations"]["istio.io/note"] == "of somebody's"
    assert step.document["metadata"]["uid"] == "of-the-entry"


def test_one_that_leaves_is_noted_and_then_taken_away_by_who_had_it() -> None:
    step = due(made(), member(left_at=1.0), group(), ME, LATER)
    assert isinstance(step, Replace)
    notes = step.document["metadata"]["annotations"]
    assert (notes[CONTROLLER], notes[DISCONNECTED], CONNECTED in notes) == (ME, LATER_TEXT, False)
    assert due(step.document, member(left_at=1.0), group(), ME, LATER) is None
    assert due(step.document, None, group(), ME, LATER) == Delete("of-the-entry", "7")
    for who in (member(left_at=1.0), None):
        assert due(made(OTHER), who, group(), ME, LATER) is None, "it is another's by now"
        assert due(None, who, group(), ME, LATER) is None


@pytest.mark.parametrize(
    ("found", "live", "expected"),
    [
        (made(), {ME}, None),
        (made(OTHER), {ME}, False),
        (made("canary/istiod-1_cc"), {ME}, None),
        (with_notes(made(OTHER), disconnectedAt=TEXT), {ME}, True),
        (with_notes(made("canary/istiod-1_cc"), disconnectedAt=TEXT), {ME}, True),
        (with_notes(made(OTHER), disconnectedAt="2026-11-26T12:00:15Z"), {ME, OTHER}, None),
        (with_notes(made(OTHER), disconnectedAt="yesterday"), {ME, OTHER}, None),
        (with_metadata(made(OTHER), annotations={}), {ME}, None),
        (with_notes(made(), workloadController=None), {ME}, None),
    ],
    ids=[
        "live",
        "dead",
        "another revision's",
        "left",
        "left another revision",
        "may be back",
        "no time",
        "own",
        "none",
    ],
)
def test_what_nobody_takes_away(found: dict[str, Any], live: set[str], expected: bool | None) -> None:
    metadata = {key: value for key, value in found["metadata"].items() if key != "resourceVersion"}
    (manifest,) = load(str({**found, "metadata": metadata}), "entry.yaml").manifests
    others: dict[ObjectRef, Manifest] = {group_manifest.ref: group_manifest for group_manifest in load_group()}
    now = NOW + timedelta(seconds=2 * GRACE + 1)
    listed = list(abandoned({**others, manifest.ref: manifest}, live, "default", now))
    assert listed == ([] if expected is None else [(manifest.ref, expected)])


def load_group() -> tuple[Manifest, ...]:
    return load(GROUP_TEXT, "group.yaml").manifests


def test_health_stands_beside_what_others_say() -> None:
    mine = {"type": "Reconciled", "status": "True"}
    status = with_health({"conditions": [mine]}, True, NOW)
    healthy = {"type": "Healthy", "status": "True", "lastTransitionTime": TEXT}
    assert status == {"conditions": [mine, healthy]}
    assert with_health(status, True, LATER) is None
    assert with_health(status, False, LATER) == {
        "conditions": [mine, {**healthy, "status": "False", "lastTransitionTime": LATER_TEXT}]
    }
    assert with_health({}, False, NOW) == {"conditions": [{**healthy, "status": "False"}]}
