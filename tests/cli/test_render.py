"""Pure rendering: spans of time, tables, documents, kinds, proxies."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from pilotfish.cli.failure import Failure
from pilotfish.cli.kinds import KINDS, find_kind
from pilotfish.cli.render.age import parse_timestamp, render_age
from pilotfish.cli.render.documents import render_document
from pilotfish.cli.render.objects import render_objects
from pilotfish.cli.render.pods import render_pods
from pilotfish.cli.render.proxies import sync
from pilotfish.cli.render.table import table
from pilotfish.model import Kind
from pilotfish.model.kinds import DEPLOYMENT
from tests.cli.fakes import NOW, container, pod, proxy


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (0.9, "0s"),
        (5, "5s"),
        (119, "119s"),
        (120, "2m"),
        (130, "2m10s"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (51 * 3600, "2d3h"),
        (8 * 86400, "8d"),
        (729 * 86400, "729d"),
        (730 * 86400, "2y"),
        (740 * 86400, "2y10d"),
        (8 * 365 * 86400, "8y"),
    ],
)
def test_ages_are_kubectls(seconds: float, text: str) -> None:
    assert render_age(seconds) == text


def test_timestamps() -> None:
    assert parse_timestamp("1970-01-01T00:01:00Z") == 60
    assert parse_timestamp("1970-01-01T01:00:00+01:00") == 0
    assert parse_timestamp("1970-01-01T00:00:01") == 1
    assert parse_timestamp("yesterday") is None
    assert parse_timestamp(None) is None


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    grid = table(("A", "LONGER", ""), [("1", "x", ""), ("日本", "y", "z")])
    assert grid.text() == "A      LONGER\n1      x\n日本   y        z\n"
    assert table(("A",), []).text() == "A\n"
    assert table(("A",), []).text(header=False) == ""


def test_multi_line_text_is_a_block_in_yaml() -> None:
    document = {"data": {"mesh": "a: 1\nb: 2\n"}, "text": "true", "list": [1, None]}
    text = render_document(document, "yaml")
    assert text == "data:\n  mesh: |\n    a: 1\n    b: 2\ntext: 'true'\nlist:\n- 1\n- null\n"
    assert yaml.safe_load(text) == document


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("po", "Pod"),
        ("PODS", "Pod"),
        ("vs", "VirtualService"),
        ("virtualservices.networking.istio.io", "VirtualService"),
        ("virtualservice.networking", "VirtualService"),
        ("deployments.v1.apps", "Deployment"),
        ("cm", "ConfigMap"),
        ("meshes", "Mesh"),
    ],
)
def test_kinds_go_by_kubectls_names(word: str, kind: str) -> None:
    assert find_kind(word).name == kind


@pytest.mark.parametrize("word", ["", "gizmo", "pods.networking.istio.io", "deployments.example.com"])
def test_other_words_are_no_kinds(word: str) -> None:
    with pytest.raises(Failure):
        find_kind(word)


def test_no_word_means_two_kinds() -> None:
    words = [word for kind in KINDS for word in set(kind.words)]
    assert len(words) == len(set(words))


def test_restarts_are_summed_and_dated() -> None:
    view = pod(
        "x",
        containers=(
            container("wait", "init", restarts=1, started_at=NOW - 100, ready=True),
            container("app", restarts=2, started_at=NOW - 10),
            container("helper", "sidecar", ready=False),
        ),
    )
    row = render_pods([view], NOW, "demo").rows[0]
    assert row == ("x", "1/2", "Running", "3 (10s ago)", "2m10s")


@pytest.mark.parametrize(
    ("states", "word"),
    [
        ({}, "SYNCED"),
        ({"rds": "NOT SENT", "eds": "NOT SENT"}, "SYNCED"),
        ({"cds": "NOT SENT", "lds": "NOT SENT"}, "CDS,LDS NOT SENT"),
        ({"cds": "STALE", "rds": "REFUSED"}, "RDS REFUSED"),
        ({"connected": False}, "DISCONNECTED"),
    ],
)
def test_the_worst_state_stands_for_a_proxy(states: dict[str, Any], word: str) -> None:
    assert sync(proxy("x", **states)) == word


OBJECTS = [
    ("Namespace", {}, ("STATUS", "Active")),
    ("ConfigMap", {"data": {"a": "1"}, "binaryData": {"b": ""}}, ("DATA", "2")),
    ("Secret", {"data": {"a": ""}}, ("TYPE", "Opaque"), ("DATA", "1")),
    ("ServiceAccount", {}, ("SECRETS", "0")),
    (
        "Deployment",
        {"spec": {"replicas": 3}, "status": {"readyReplicas": 1, "updatedReplicas": 2}},
        ("READY", "1/3"),
        ("UP-TO-DATE", "2"),
        ("AVAILABLE", "0"),
    ),
    (
        "ReplicaSet",
        {"spec": {"replicas": 3}, "status": {"replicas": 2, "readyReplicas": 1}},
        ("DESIRED", "3"),
        ("CURRENT", "2"),
        ("READY", "1"),
    ),
    ("StatefulSet", {"spec": {"replicas": 3}, "status": {"readyReplicas": 1}}, ("READY", "1/3")),
    (
        "DaemonSet",
        {"status": {"desiredNumberScheduled": 1, "currentNumberScheduled": 1, "updatedNumberScheduled": 1}},
        ("DESIRED", "1"),
        ("CURRENT", "1"),
        ("READY", "0"),
        ("UP-TO-DATE", "1"),
        ("AVAILABLE", "0"),
        ("NODE SELECTOR", "<none>"),
    ),
    (
        "Job",
        {
            "spec": {"completions": 3},
            "status": {
                "succeeded": 3,
                "startTime": "2026-11-20T10:00:00Z",
                "completionTime": "2026-11-20T10:01:30Z",
                "conditions": [{"type": "Complete", "status": "True"}],
            },
        },
        ("STATUS", "Complete"),
        ("COMPLETIONS", "3/3"),
        ("DURATION", "90s"),
    ),
    ("Job", {"spec": {"parallelism": 2}}, ("STATUS", "Running"), ("COMPLETIONS", "0/1 of 2"), ("DURATION", "")),
    (
        "CronJob",
        {"spec": {"schedule": "* * * * *", "suspend": True}, "status": {"active": [{"name": "x-1"}]}},
        ("SCHEDULE", "* * * * *"),
        ("TIMEZONE", "<none>"),
        ("SUSPEND", "True"),
        ("ACTIVE", "1"),
        ("LAST SCHEDULE", "<none>"),
    ),
    (
        "PersistentVolumeClaim",
        {
            "spec": {"accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "volumeName": "disk"},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
        },
        ("STATUS", "Bound"),
        ("VOLUME", "disk"),
        ("CAPACITY", "1Gi"),
        ("ACCESS MODES", "RWO,ROX"),
        ("STORAGECLASS", ""),
    ),
    (
        "PersistentVolume",
        {"spec": {"capacity": {"storage": "1Gi"}, "claimRef": {"name": "data", "namespace": "vm"}}},
        ("CAPACITY", "1Gi"),
        ("ACCESS MODES", ""),
        ("RECLAIM POLICY", "Retain"),
        ("STATUS", "Available"),
        ("CLAIM", "vm/data"),
        ("STORAGECLASS", ""),
    ),
    ("DestinationRule", {"spec": {"host": "calculator"}}, ("HOST", "calculator")),
    (
        "ServiceEntry",
        {"spec": {"hosts": ["a.example", "b.example"], "location": "MESH_EXTERNAL", "resolution": "DNS"}},
        ("HOSTS", '["a.example","b.example"]'),
        ("LOCATION", "MESH_EXTERNAL"),
        ("RESOLUTION", "DNS"),
    ),
    (
        "Endpoints",
        {"subsets": [{"addresses": [{"ip": f"10.0.0.{n}"} for n in range(1, 6)], "ports": [{"port": 80}]}]},
        ("ENDPOINTS", "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more..."),
    ),
    (
        "EndpointSlice",
        {"addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [{"addresses": ["10.0.0.1"]}]},
        ("ADDRESSTYPE", "IPv4"),
        ("PORTS", "80"),
        ("ENDPOINTS", "10.0.0.1"),
    ),
]


@pytest.mark.parametrize("case", OBJECTS, ids=lambda case: case[0])
def test_columns_of_each_kind(case: tuple[str, dict[str, object], *tuple[tuple[str, str], ...]]) -> None:
    name, body, *columns = case
    kind = next(each for each in KINDS if each.name == name)
    document = {"metadata": {"name": "x"}, **body}
    shown = render_objects(kind, [document], NOW)
    assert shown.header == ("NAME", *(header for header, _ in columns), "AGE")
    assert shown.rows == (("x", *(value for _, value in columns), "<unknown>"),)


def test_a_kind_without_columns_shows_name_and_age() -> None:
    shown = render_objects(Kind("Gizmo"), [{"metadata": {"name": "x"}}], NOW)
    assert (shown.header, shown.rows) == (("NAME", "AGE"), (("x", "<unknown>"),))


def test_wide_deployments() -> None:
    document = {
        "metadata": {"name": "x", "namespace": "vm"},
        "spec": {
            "selector": {"matchLabels": {"b": "2", "a": "1"}},
            "template": {"spec": {"containers": [{"name": "one"}, {"name": "two"}]}},
        },
    }
    row = render_objects(DEPLOYMENT, [document], NOW, wide=True).rows[0]
    assert row == ("x", "0/1", "0", "0", "<unknown>", "one,two", "a=1,b=2")
