"""`pilotfish inject`: manifests in, the same with proxies out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from pilotfish.cli.inject import command

EXAMPLES = Path(__file__).parents[2] / "examples"
WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}   # the front
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:1"}]}
"""
SERVICE = """\
# Kept,   as it is.
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [ {port: 80} ]}   # so
"""
SPARED = "apiVersion: v1\nkind: Namespace\nmetadata: {name: spared, labels: {istio-injection: disabled}}\n"


def run(*words: str | Path, stdin: str = "") -> Result:
    return CliRunner().invoke(command, [*map(str, words)], input=stdin)


def proxy(text: str, name: str = "web") -> dict[str, Any]:
    """The container `istio-proxy` of an object's pods."""
    objects = [each for each in yaml.safe_load_all(text) if each and each["metadata"]["name"] == name]
    found = next(each for each in objects if each["kind"] == "Deployment")
    spec = found["spec"]["template"]["spec"] if "template" in found["spec"] else found["spec"]
    proxies = [each for each in spec.get("initContainers", ()) if each["name"] == "istio-proxy"]
    return proxies[0] if proxies else {}


def test_what_has_no_pods_is_printed_byte_for_byte() -> None:
    text = f"{SERVICE}---   # the front\n{WEB}---\n{SERVICE}"
    result = run("-", stdin=text)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{SERVICE}---\n")
    assert result.stdout.endswith(f"---\n{SERVICE}")
    assert proxy(result.stdout)["image"].startswith("pilotfish:")


def test_injected_twice_is_injected_once() -> None:
    once = run("-", stdin=WEB)
    twice = run("-", stdin=once.stdout)
    assert twice.stdout == once.stdout
    assert "it has its proxy already [NotInjected]" in twice.stderr


def test_values_are_those_of_install(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text("proxy: {logLevel: info}\nmeshConfig: {trustDomain: shop.example}\n")
    words = ("--values", tmp_path / "values.yaml", "--set", "hub=registry.example", "--set", "tag=2")
    made = proxy(run("-", *words, "--revision", "canary", stdin=WEB).stdout)
    assert made["image"] == "registry.example/pilotfish:2"
    assert "--log-level=info" in made["args"]
    told = {each["name"]: each.get("value") for each in made["env"]}
    assert told["CA_ADDR"] == "istiod-canary.istio-system.svc:15012"
    assert told["ISTIO_META_MESH_ID"] == "shop.example"


def test_the_mesh_config_is_a_file_of_its_own_or_of_the_cluster(tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text("defaultConfig: {concurrency: 3, discoveryAddress: 'istiod.a.svc:15012'}")
    made = proxy(run("-", "--mesh-config", tmp_path / "mesh.yaml", stdin=WEB).stdout)
    told = {each["name"]: each.get("value") for each in made["env"]}
    assert yaml.safe_load(told["PROXY_CONFIG"]) == {"concurrency": 3, "discoveryAddress": "istiod.a.svc:15012"}


def test_namespaces_and_proxy_configs_among_the_manifests_count(tmp_path: Path) -> None:
    config = "{apiVersion: networking.istio.io/v1beta1, kind: ProxyConfig, metadata: {name: a, namespace: shop}, "
    (tmp_path / "a.yaml").write_text(f"{SPARED}---\n{config}spec: {{concurrency: 7}}}}\n")
    (tmp_path / "b.yaml").write_text(WEB.replace("{name: web}", "{name: spared, namespace: spared}", 1))
    (tmp_path / "c.yaml").write_text(WEB.replace("{name: web}", "{name: web, namespace: shop}", 1))
    result = run(tmp_path)
    assert proxy(result.stdout, "spared") == {}
    assert (
        "Deployment spared/spared: it has no proxy: its labels, its annotations or its namespace say so"
        in result.stderr
    )
    told = {each["name"]: each.get("value") for each in proxy(result.stdout)["env"]}
    assert yaml.safe_load(told["PROXY_CONFIG"])["concurrency"] == 7


def test_what_is_wrong_is_said_with_its_line_and_nothing_is_printed(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    annotations = "{labels: {app: web}, annotations: {sidecar.istio.io/proxyCPU: much}}"
    file.write_text(f"{SERVICE}---\n{WEB.replace('{labels: {app: web}}', annotations)}")
    result = run(file)
    assert (result.exit_code, result.stdout) == (1, "")
    where = "spec.template.metadata.annotations[sidecar.istio.io/proxyCPU]"
    assert f"web.yaml:13:5: error: Deployment default/web {where}: 'much' is no quantity" in result.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Pod\nspec: [", "the document is not YAML"),
        ('{"kind": "Pod", "apiVersion": "v1", "spec": {"containers": [3]}}', "this is no pod"),
        ("kind: Pod\napiVersion: v1\nmetadata: {name: a, namespace: off}\nspec: {containers: [{name: a}]}", "names"),
    ],
)
def test_what_is_no_pod(text: str, said: str) -> None:
    result = run("-", stdin=text)
    assert result.exit_code == 1
    assert said in result.stderr


def test_wrong_values_are_said() -> None:
    result = run("-", "--set", "proxi.logLevel=info", stdin=WEB)
    assert result.exit_code == 1
    assert "did you mean 'proxy'?" in result.output


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()))
def test_the_examples_get_their_proxies_once(example: str) -> None:
    once = run(EXAMPLES / example, "-R")
    assert once.exit_code == 0, once.stderr
    assert run("-", stdin=once.stdout).stdout == once.stdout
