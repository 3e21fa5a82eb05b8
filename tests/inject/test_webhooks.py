"""The webhook configurations: of whom the API server asks, and what holds while nobody answers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.config.decode import decode
from pilotfish.config.injection import SYSTEM, Revision, is_asked
from pilotfish.config.mesh import LabelSelector
from pilotfish.config.report import Report
from pilotfish.config.selecting import fits
from pilotfish.inject.webhooks import (
    Answerer,
    build_injection_webhooks,
    build_validation_webhooks,
    read_environment,
)

ANSWERER = Answerer(service="istiod", namespace="istio-system")
_LABEL = st.sampled_from(["", "absent", "default", "canary", "stable", "enabled", "disabled", "true", "false"])


def _labels(*names: str) -> st.SearchStrategy[dict[str, str]]:
    drawn = st.fixed_dictionaries(dict.fromkeys(names, _LABEL))
    return drawn.map(lambda labels: {name: value for name, value in labels.items() if value != "absent"})


def _fits(selector: object, labels: dict[str, str]) -> bool:
    report = Report(None, "-")
    read = decode(selector, LabelSelector, report)
    assert read is not None
    return fits(read, labels)


def _asking(configuration: dict[str, Any], namespace: str, of_namespace: dict[str, str], of_pod: dict[str, str]) -> int:
    of_namespace = {**of_namespace, "kubernetes.io/metadata.name": namespace}
    return sum(
        _fits(each["namespaceSelector"], of_namespace) and _fits(each["objectSelector"], of_pod)
        for each in configuration["webhooks"]
    )


@given(
    st.sampled_from([Revision(), Revision("canary"), Revision("canary", ("stable", "default")), Revision("a", ("b",))]),
    st.booleans(),
    st.sampled_from(["shop", *SYSTEM]),
    _labels("istio-injection", "istio.io/rev"),
    _labels("sidecar.istio.io/inject", "istio.io/rev"),
)
def test_selectors_say_what_is_asked_and_nobody_is_asked_twice(
    revision: Revision, by_default: bool, namespace: str, of_namespace: dict[str, str], of_pod: dict[str, str]
) -> None:
    revision = Revision(revision.name, revision.tags, by_default)
    configuration = build_injection_webhooks("pilotfish", revision, ANSWERER)
    asked = is_asked(revision, namespace, of_namespace, of_pod)
    assert _asking(configuration, namespace, of_namespace, of_pod) == asked


def test_they_fail_closed_and_change_nothing_themselves() -> None:
    revision = Revision(by_default=True)
    for made in (build_injection_webhooks("a", revision, ANSWERER), build_validation_webhooks("a", revision, ANSWERER)):
        assert len({each["name"] for each in made["webhooks"]}) == len(made["webhooks"]) > 1
        for each in made["webhooks"]:
            assert (each["failurePolicy"], each["sideEffects"]) == ("Fail", "None")
            assert each["timeoutSeconds"] <= 30
            assert each["admissionReviewVersions"] == ["v1"]


def test_an_object_is_looked_at_by_the_revision_that_it_names_and_by_the_default_one_if_it_names_none() -> None:
    def looks(revision: Revision, labels: dict[str, str]) -> bool:
        made = build_validation_webhooks("a", revision, ANSWERER)["webhooks"]
        return any(_fits(each["objectSelector"], labels) for each in made)

    assert looks(Revision(), {})
    assert not looks(Revision("canary"), {})
    assert looks(Revision("canary"), {"istio.io/rev": "canary"})
    assert not looks(Revision(), {"istio.io/rev": "canary"})


@pytest.mark.parametrize(
    ("path", "environment"),
    [
        ("/inject", {}),
        ("/inject/", {}),
        ("/inject/cluster/west/net/a--slash--b/", {"ISTIO_META_CLUSTER_ID": "west", "ISTIO_META_NETWORK": "a/b"}),
        ("/inject/istio_meta_zone/z/odd", {"ISTIO_META_ZONE": "z"}),
        ("/inject/:ENV:cluster=west:ENV:net=a=b", {"ISTIO_META_CLUSTER_ID": "west", "ISTIO_META_NETWORK": "a=b"}),
        ("/injection", None),
        ("/validate", None),
    ],
)
def test_a_path_adds_variables_to_every_proxy(path: str, environment: dict[str, str] | None) -> None:
    assert read_environment(path) == environment
