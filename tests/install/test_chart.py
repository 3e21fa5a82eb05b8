"""The Helm chart: whatever is set, it comes to what `pilotfish manifest` prints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from pilotfish.config.report import Report
from pilotfish.inject.values import parse_values
from pilotfish.install.chart import build_chart
from pilotfish.install.inventory import ref_of
from pilotfish.install.names import VALUES
from pilotfish.install.settings import read_values
from pilotfish.install.values import Values
from tests.install.helm import PROGRAM, helm, render
from tests.install.installing import objects

needs_helm = pytest.mark.skipif(not PROGRAM, reason="helm is not here (tests/install/helm.py says how to get it)")
CHOICES = (
    (),
    ("revision=1-2",),
    ("hub=registry.example.com/mesh/", "tag=1.10", "pullPolicy=Always", "pullSecrets={a,b}", "image=fish"),
    ("cni.enabled=true", "cni.repair=delete", "cni.excludeNamespaces={a,b}"),
    ("cni.enabled=true", "revision=b", "cni.nodeSelector.disk=fast"),
    ("gateway.enabled=true", "gateway.autoscale.enabled=false", "gateway.type=NodePort", "gateway.annotations.a=b"),
    ("gateway.enabled=true", "revision=b", "gateway.priorityClassName=high"),
    ("discovery.autoscale.enabled=false", "discovery.autoscale.min=3", "discovery.plaintext=true"),
    ("discovery.args={--log-level,debug}", "discovery.podAnnotations.a=b", "discovery.resources.limits.cpu=2"),
    ("injection.everyNamespace=true", "injection.byDefault=false", "injection.annotations.a=b"),
    ("injection.everyNamespace=true", "revision=b"),
    ("meshConfig.accessLogFile=/dev/stdout", "meshConfig.defaultConfig.concurrency=2", "network=n", "meshId=m"),
    ("proxy.resources.limits.memory=2Gi", "proxy.logLevel=debug", "clusterName=east", "caAddress=ca:1"),
)


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chart")
    for path, text in build_chart("1.2.3").items():
        file = folder / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return folder


def test_its_values_are_the_defaults(chart: Path) -> None:
    read = read_values([("values.yaml", (chart / "values.yaml").read_text())])
    assert read.problems == ()
    assert read.values == Values()


def test_it_is_called_as_the_release(chart: Path) -> None:
    said = yaml.safe_load((chart / "Chart.yaml").read_text())
    assert (said["version"], said["appVersion"], said["kubeVersion"]) == ("1.2.3", "1.2.3", ">=1.28.0-0")


def test_nothing_that_stands_for_a_value_is_left(chart: Path) -> None:
    for file in chart.rglob("*.*"):
        assert "⟦" not in file.read_text(), file


@needs_helm
@pytest.mark.parametrize("settings", CHOICES, ids=" ".join)
def test_helm_makes_of_it_what_the_manifest_has(chart: Path, settings: tuple[str, ...]) -> None:
    settings = settings if any(each.startswith("tag=") for each in settings) else (*settings, "tag=1.2.3")
    rendered = {ref_of(each): _plain(each) for each in render(chart, *settings)}
    wanted = {ref_of(each): _plain(each) for each in objects(*settings) if each["kind"] != "Namespace"}
    assert rendered.keys() == wanted.keys()
    for ref, each in wanted.items():
        assert rendered[ref] == each, ref


def _plain(source: dict[str, Any]) -> Any:
    """What it means: YAML inside of it as what it says, and nothing that is empty."""
    made = json.loads(json.dumps(source))
    annotations = made["metadata"].get("annotations", {})
    annotations.pop(VALUES, None)
    if made["kind"] == "ConfigMap":
        made["data"] = {key: yaml.safe_load(text) for key, text in made["data"].items()}
        made["data"]["injection"] = _injection(made["data"]["injection"])
    return _filled(made)


def _injection(said: Any) -> Any:
    """Helm says defaults as well; what both mean is what their reader makes of them."""
    report = Report(None, "")
    found = parse_values(json.dumps(said), report, "")
    assert report.problems == []
    return repr(found)


def _filled(value: Any) -> Any:
    if isinstance(value, dict):
        made = {key: _filled(item) for key, item in value.items()}
        return {key: item for key, item in made.items() if item not in ({}, [], None, "")}
    return [_filled(item) for item in value] if isinstance(value, list) else value


@needs_helm
def test_a_value_that_there_is_not_is_refused(chart: Path) -> None:
    done = helm("template", "a", chart, "--kube-version", "1.34", "--set", "cni.enabeld=true", check=False)
    assert done.returncode != 0
    assert "enabeld" in done.stderr


@needs_helm
def test_definitions_are_there_unless_they_are_not_wanted_and_stay_behind(chart: Path) -> None:
    made = helm("template", "a", chart, "--kube-version", "1.34").stdout
    found = [each for each in yaml.safe_load_all(made) if each and each["kind"] == "CustomResourceDefinition"]
    assert len(found) == 15
    assert all(each["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"} for each in found)
