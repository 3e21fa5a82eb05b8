"""`pilotfish xds render`: what a proxy would be sent, with no mesh and no root."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from pilotfish.cli.xds import TYPES
from pilotfish.offline.rendering import ALL, SHOWN
from tests.cli.conftest import Invoke

CALCULATOR = str(Path(__file__).parents[2] / "examples" / "calculator" / "mesh.yaml")
pytestmark = pytest.mark.usefixtures("as_user", "state")


def test_types_are_those_that_there_are() -> None:
    assert set(TYPES) == {*SHOWN, ALL}


def test_all_types_in_json_and_yaml(invoke: Invoke) -> None:
    shown = invoke("xds", "render", CALCULATOR, "--proxy", "webapp-0.vm", "-o", "json")
    assert (shown.exit_code, shown.stderr) == (0, "")
    found = json.loads(shown.stdout)
    assert set(found) == set(SHOWN)
    assert "virtualInbound" in [listener["name"] for listener in found["listeners"]]
    assert found == yaml.safe_load(invoke("xds", "render", CALCULATOR, "--proxy", "webapp-0.vm").stdout)


def test_one_type_of_a_deployments_proxy_from_standard_input(invoke: Invoke) -> None:
    text = Path(CALCULATOR).read_text()
    arguments = ("--proxy", "deploy/calculator-v1", "-n", "vm", "--type", "clusters", "-o", "json")
    shown = invoke("xds", "render", "-", *arguments, stdin=text)
    (clusters,) = json.loads(shown.stdout).values()
    assert "inbound|8888||" in [cluster["name"] for cluster in clusters]


def test_a_described_proxy(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "proxy.yaml").write_text("{ip: 10.9.9.9, namespace: other, labels: {app: x}}")
    shown = invoke("xds", "render", CALCULATOR, "--proxy-file", "proxy.yaml", "--type", "routes", "-o", "json")
    assert "8888" in [route["name"] for route in json.loads(shown.stdout)["routes"]]
    (tmp_path / "proxy.yaml").write_text("{type: ferry, ip: 10.9.9.9}")
    refused = invoke("xds", "render", CALCULATOR, "--proxy-file", "proxy.yaml")
    assert refused.exit_code == 1
    assert "proxy.yaml: discovery serves no proxy of the type 'ferry'" in refused.stderr


def test_of_a_pod_that_its_machines_proxy_serves_what_it_uses_of_that_one(invoke: Invoke, tmp_path: Path) -> None:
    config = tmp_path / "mesh.yaml"
    config.write_text("defaultConfig: {proxyMetadata: {PILOTFISH_PROXY: node}}")
    asked = ("xds", "render", CALCULATOR, "--mesh-config", str(config), "-o", "json", "--proxy")
    found = json.loads(invoke(*asked, "webapp-0.vm").stdout)
    assert {each["name"] for each in found["listeners"]} == {
        "virtualOutbound~webapp-0.vm",
        "virtualInbound~webapp-0.vm",
        "0.0.0.0_8888",
        "0.0.0.0_8889",
    }
    assert {each["name"] for each in found["routes"]} == {"8888~vm", "8889~vm"}
    assert "inbound|8888||" not in {each["name"] for each in found["clusters"]}
    for name in ("local", "local.istio-system"):
        whole = json.loads(invoke(*asked, name, "--type", "listeners").stdout)["listeners"]
        assert len({each["name"] for each in whole if each["name"].startswith("virtualInbound~")}) == 3


def test_a_proxy_that_is_not_there_names_those_that_are(invoke: Invoke) -> None:
    refused = invoke("xds", "render", CALCULATOR, "--proxy", "nobody")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert 'no proxy "nobody"' in refused.stderr
    assert "webapp-0.vm" in refused.stderr
    assert invoke("xds", "render", CALCULATOR).exit_code == 2


def test_an_object_that_cant_be_used_is_named_and_the_others_are_shown(invoke: Invoke, tmp_path: Path) -> None:
    broken = Path(CALCULATOR).read_text().replace("hosts: [calculator]", "hosts: [calc ulator]")
    broken += "---\n{apiVersion: v1, kind: Service, metadata: {name: x}, spec: {ports: [{port: 0}]}}\n"
    (tmp_path / "mesh.yaml").write_text(broken)
    shown = invoke("xds", "render", "mesh.yaml", "--proxy", "webapp-0.vm", "-o", "json")
    assert shown.exit_code == 0
    assert json.loads(shown.stdout)["listeners"]
    assert "mesh.yaml:" in shown.stderr
    assert "Service default/x spec.ports[0].port" in shown.stderr


def test_a_check_needs_root(invoke: Invoke) -> None:
    refused = invoke("xds", "render", CALCULATOR, "--proxy", "webapp-0.vm", "--check")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "needs root" in refused.stderr
