"""Which root certificates and webhook configurations are to be written, and which are somebody else's."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec

from pilotfish.cluster import roots, webhooks
from pilotfish.cluster.roots import Namespace, RootMap, Wanted
from pilotfish.cluster.webhooks import Configuration

OURS = {"app.kubernetes.io/managed-by": "pilotfish"}
ROOTS = "-----BEGIN CERTIFICATE-----"


def root_map(data: dict[str, str] | None, labels: dict[str, str] = OURS) -> RootMap:
    return msgspec.convert({"metadata": {"labels": labels}, "data": data}, RootMap)


def test_what_is_missing_or_changed_is_due_and_what_is_anothers_is_named() -> None:
    there = {
        "right": root_map({roots.KEY: ROOTS}),
        "changed": root_map({roots.KEY: "mine"}),
        "emptied": root_map(None),
        "more": root_map({roots.KEY: ROOTS, "theirs": "too"}),
        "foreign": root_map({roots.KEY: "other"}, {}),
        "handed-over": root_map({roots.KEY: ROOTS}, {}),
    }
    wanted = Wanted(ROOTS, ("missing", *there))
    assert list(roots.due(wanted, there)) == ["missing", "changed", "emptied"]
    (problem,) = roots.foreign(wanted, there)
    assert problem.ref is not None
    assert (problem.ref.namespace, problem.ref.name) == ("foreign", "istio-ca-root-cert")
    assert "app.kubernetes.io/managed-by: pilotfish" in problem.message
    assert root_map(None, roots.document("vm", ROOTS, OURS)["metadata"]["labels"]).is_ours


def test_nothing_is_written_where_nothing_can_be() -> None:
    found: dict[str, Any] = {
        "vm": {"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Active"}},
        "ending": {"metadata": {}, "status": {"phase": "Terminating"}},
        "deleted": {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
        "kube-system": {"metadata": {}},
    }
    namespaces = {name: msgspec.convert(each, Namespace) for name, each in found.items()}
    assert list(roots.chosen(namespaces.items())) == ["vm"]


def configuration(*clients: dict[str, str]) -> Configuration:
    document = {
        "metadata": {"resourceVersion": "7", "labels": {**OURS, "istio.io/rev": "default"}},
        "webhooks": [{"name": f"w{n}", "clientConfig": each} for n, each in enumerate(clients)],
    }
    return msgspec.json.decode(json.dumps(document), type=Configuration)


def test_a_bundle_is_written_where_it_is_another() -> None:
    bundle = base64.b64encode(ROOTS.encode()).decode()
    found = configuration({"caBundle": bundle}, {}, {"url": "https://elsewhere"}, {"caBundle": "b2xk"})
    version, *changes = webhooks.patch(found, ROOTS.encode())
    assert version == {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}
    assert [each["path"] for each in changes] == [f"/webhooks/{n}/clientConfig/caBundle" for n in (1, 3)]
    assert {each["value"] for each in changes} == {bundle}
    assert webhooks.patch(configuration({"caBundle": bundle}), ROOTS.encode()) == ()
    assert found.has({"istio.io/rev": "default"})
    assert not found.has({"istio.io/rev": "canary"})
