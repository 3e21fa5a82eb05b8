"""The objects of an installation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pilotfish.config import load_mesh_config
from pilotfish.install.inventory import REMOVED, is_ours, kind_of, ref_of
from pilotfish.install.names import CNI, Names, Object
from pilotfish.install.objects import build_stages
from pilotfish.model.kinds import NAMESPACE
from tests.install.installing import named, objects, values

GOLDEN = Path(__file__).parent / "golden"
CASES = {
    "plain": (),
    "revision": ("revision=1-2", "hub=registry.example.com/mesh", "pullPolicy=Always", "pullSecrets={key}"),
    "whole": (
        "cni.enabled=true",
        "gateway.enabled=true",
        "discovery.plaintext=true",
        "injection.everyNamespace=true",
        "meshConfig.accessLogFile=/dev/stdout",
        "meshConfig.defaultConfig.concurrency=2",
    ),
}
"""Name → what is set."""


@pytest.mark.parametrize("case", CASES)
def test_the_manifest_is_as_it_was(case: str, request: pytest.FixtureRequest) -> None:
    """`pytest tests/install tests/golden --update-golden` rewrites them."""
    made = yaml.safe_dump_all(map(_plain, objects(*CASES[case])), sort_keys=False, width=1000)
    file = GOLDEN / f"{case}.yaml"
    if request.config.getoption("--update-golden", default=False):
        file.write_text(made)
    assert made == file.read_text()


def test_every_golden_file_is_a_case() -> None:
    assert {file.stem for file in GOLDEN.glob("*.yaml")} == CASES.keys()


def _plain(value: Any) -> Any:
    """Without what YAML would write as anchors."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("case", CASES)
def test_each_object_is_known_again_and_goes_with_uninstall(case: str) -> None:
    for each in objects(*CASES[case]):
        assert is_ours(each), ref_of(each)
        assert kind_of(each) is NAMESPACE or kind_of(each) in REMOVED, ref_of(each)


@pytest.mark.parametrize("case", CASES)
def test_no_object_stands_twice(case: str) -> None:
    refs = [ref_of(each) for each in objects(*CASES[case])]
    assert len(set(refs)) == len(refs)


def test_revisions_share_nothing_but_the_namespace_the_plugin_and_the_gateway() -> None:
    one, other = ({ref_of(each) for each in objects("cni.enabled=true", f"revision={name}")} for name in ("a", "b"))
    assert {ref.name for ref in one & other} == {"istio-system", CNI}


def test_who_answers_is_there_before_who_asks_and_gateways_after_both() -> None:
    first, webhooks, gateway = build_stages(values("crds=false", "gateway.enabled=true"))
    assert {each["kind"] for each in webhooks} == {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"}
    assert named(first, "Deployment")["metadata"]["name"] == "pilotfish"
    assert named(gateway, "Deployment")["metadata"]["name"] == "istio-ingressgateway"


def test_the_mesh_configuration_is_one_that_discovery_takes_and_a_users_goes_before_it() -> None:
    found = objects("meshConfig.defaultConfig.discoveryAddress=a:1", "meshConfig.accessLogFile=/dev/stdout")
    config, problems = load_mesh_config(named(found, "ConfigMap", "istio")["data"]["mesh"], "mesh")
    assert problems == ()
    assert config is not None
    assert config.default_config.discovery_address == "a:1"
    assert config.root_namespace == "istio-system"
    assert config.access_log_file == "/dev/stdout"


def _pods(found: tuple[Object, ...]) -> Iterator[Object]:
    return (each["spec"]["template"]["spec"] for each in found if "template" in each.get("spec", {}))


def test_only_the_nodes_plugin_has_powers() -> None:
    for pod in _pods(objects("cni.enabled=true")):
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"]
            assert not context["allowPrivilegeEscalation"]
            assert context["capabilities"]["drop"] == ["ALL"]
            assert ("add" in context["capabilities"]) == bool(pod.get("hostNetwork"))


def _rules(*settings: str) -> Iterator[Object]:
    return (rule for each in objects(*settings) if "rules" in each for rule in each["rules"])


def test_nothing_is_written_but_what_is_named() -> None:
    """Writing is of one object by its name, of a status, or of what everybody's is: events, reviews, a first Lease,
    machines that register themselves."""
    free = {"events", "tokenreviews", "leases", "workloadentries"}
    for rule in _rules():
        writes = set(rule["verbs"]) - {"get", "list", "watch"}
        if writes and "resourceNames" not in rule:
            assert all(each in free or each.endswith("/status") for each in rule["resources"]), rule
        assert "*" not in (*rule["verbs"], *rule["resources"], *rule["apiGroups"])


def test_a_revision_writes_its_own_webhooks_alone() -> None:
    written = [rule for rule in _rules("revision=a") if "patch" in rule["verbs"] and "mutating" in rule["resources"][0]]
    assert [rule["resourceNames"] for rule in written] == [[Names("a").own]]


def test_a_gateway_is_injected_by_its_own_revision() -> None:
    for settings, label in (((), {}), (("revision=a",), {"istio.io/rev": "a"})):
        pod = named(objects("gateway.enabled=true", *settings), "Deployment", "istio-ingressgateway")
        labels = pod["spec"]["template"]["metadata"]["labels"]
        assert {key: value for key, value in labels.items() if key == "istio.io/rev"} == label
        assert labels["sidecar.istio.io/inject"] == "true"
