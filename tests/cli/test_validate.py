"""`pilotfish validate`: each object by itself, for people, editors and CI."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke

pytestmark = pytest.mark.usefixtures("as_user", "state")
CALCULATOR = str(Path(__file__).parents[2] / "examples" / "calculator" / "mesh.yaml")
BAD = """\
apiVersion: v1
kind: Service
metadata: {name: a, namespace: vm}
spec:
  ports:
  - port: 80
    protcol: UDP
"""
LINE = "7:5: error: Service vm/a spec.ports[0].protcol: "


def test_good_objects(invoke: Invoke) -> None:
    result = invoke("validate", CALCULATOR)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "9 objects are valid\n", "")
    assert json.loads(invoke("validate", CALCULATOR, "-o", "json").stdout) == []


def test_a_bad_object_is_a_line_with_its_place(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.yaml").write_text(BAD)
    (tmp_path / "b.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: b}}")
    result = invoke("validate", "-R", ".")
    assert result.exit_code == 1
    (line,) = result.stdout.splitlines()
    assert line.startswith(f"sub/a.yaml:{LINE}")
    assert line.endswith("[UnknownField]")
    assert invoke("validate", "-", stdin=BAD).stdout.startswith(f"-:{LINE}")


def test_a_warning_fails_nothing(invoke: Invoke) -> None:
    result = invoke("validate", "-", stdin="{apiVersion: v1, kind: Node, metadata: {name: a}}")
    assert result.exit_code == 0
    assert "-:1:18: info: Node a kind: " in result.stdout


def test_what_a_pod_asks_of_its_sidecar_is_part_of_it(invoke: Invoke) -> None:
    annotation = "traffic.sidecar.istio.io/excludeOutboundPorts: many"
    pod = f"apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n  annotations:\n    {annotation}\n"
    result = invoke("validate", "-", stdin=f"{pod}spec: {{containers: [{{name: a, command: [a]}}]}}\n")
    assert result.exit_code == 1
    assert "excludeOutboundPorts" in result.stdout


def test_sarif(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BAD)
    result = invoke("validate", "a.yaml", "-o", "sarif")
    assert result.exit_code == 1
    (run,) = json.loads(result.stdout)["runs"]
    (found,) = run["results"]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == [found["ruleId"]] == ["UnknownField"]
    (place,) = found["locations"]
    assert place["physicalLocation"] == {
        "artifactLocation": {"uri": "a.yaml"},
        "region": {"startLine": 7, "startColumn": 5},
    }


def test_github(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "a,b.yaml").write_text(BAD)
    result = invoke("validate", "a,b.yaml", "-o", "github")
    start = "::error file=a%2Cb.yaml,line=7,col=5,title=UnknownField::Service vm/a spec.ports[0].protcol: "
    assert result.stdout.startswith(start)


def test_what_is_not_there_is_an_error_of_its_own(invoke: Invoke) -> None:
    result = invoke("validate", "nowhere.yaml")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "nowhere.yaml" in result.stderr
    assert invoke("validate").exit_code == 2
