"""`pilotfish analyze`: across objects, of manifests or of the running mesh, with Istio's codes and exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Invoke
from tests.cli.fakes import REFUSED, FakeMesh

CALCULATOR = str(Path(__file__).parents[2] / "examples" / "calculator" / "mesh.yaml")
SHOP = """\
apiVersion: v1
kind: Service
metadata: {name: shop, namespace: vm}
spec: {ports: [{name: http, port: 80}, {name: odd, port: 81}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: shop
  namespace: vm
spec:
  hosts: [shop]
  http:
  - route:
    - destination:
        host: shpo
---
apiVersion: v1
kind: Endpoints
metadata: {name: shop, namespace: vm}
subsets: [{addresses: [{ip: 192.0.2.1}], ports: [{name: http, port: 80}, {name: odd, port: 81}]}]
"""
LOST = "Error [IST0101] (VirtualService vm/shop shop.yaml:16:9) spec.http[0].route[0].destination.host: no Service"


@pytest.fixture
def shop(state: Path, tmp_path: Path, as_user: None) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(SHOP)
    return path


@pytest.mark.usefixtures("shop")
def test_a_clean_mesh(invoke: Invoke) -> None:
    result = invoke("analyze", CALCULATOR)
    assert (result.exit_code, result.stdout) == (0, "no issues found\n")


@pytest.mark.usefixtures("shop")
def test_an_error_has_a_code_a_place_and_an_exit_code_of_its_own(invoke: Invoke) -> None:
    result = invoke("analyze", "shop.yaml")
    assert result.exit_code == 79
    first, second = result.stdout.splitlines()
    assert first.startswith("Info [IST0118] (Service vm/shop shop.yaml:4:")
    assert second.startswith(LOST)


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("options", "codes", "exit_code"),
    [
        (("--output-threshold", "Error"), ["IST0101"], 79),
        (("--failure-threshold", "info", "-S", "IST0101=VirtualService shop.vm"), ["IST0118"], 79),
        (("-S", "IST0101=VirtualService shop.vm"), ["IST0118"], 0),
        (("-S", "*=* *"), [], 0),
    ],
)
def test_thresholds_and_suppressions(
    invoke: Invoke, options: tuple[str, ...], codes: list[str], exit_code: int
) -> None:
    result = invoke("analyze", "shop.yaml", "-o", "json", *options)
    assert [finding["code"] for finding in json.loads(result.stdout)] == codes
    assert result.exit_code == exit_code


def test_an_annotation_suppresses(invoke: Invoke, shop: Path) -> None:
    annotated = SHOP.replace(
        "  namespace: vm\n", "  annotations: {galley.istio.io/analyze-suppress: IST0101}\n  namespace: vm\n"
    )
    shop.write_text(annotated)
    assert invoke("analyze", "shop.yaml").exit_code == 0


def test_an_object_that_cant_be_used_is_a_failed_validation(invoke: Invoke, shop: Path) -> None:
    shop.write_text(SHOP.replace("port: 81", "prot: 81"))
    found = json.loads(invoke("analyze", "shop.yaml", "-o", "json").stdout)
    assert {"IST0106"} < {finding["code"] for finding in found}
    broken = next(finding for finding in found if finding["reason"] == "UnknownField")
    assert broken["documentationUrl"] == "https://istio.io/latest/docs/reference/config/analysis/ist0106/"
    assert (broken["code"], broken["line"]) == ("IST0106", 4)


def test_the_running_mesh(invoke: Invoke, mesh: FakeMesh) -> None:
    mesh.set(problems=(REFUSED,))
    result = invoke("analyze", "--mesh")
    assert result.exit_code == 79
    assert result.stdout.startswith("Error [Nack] (VirtualService vm/calculator mesh.yaml:12) spec.http[0]")
    mesh.objects = [
        {
            "kind": "VirtualService",
            "metadata": {
                "name": "calculator",
                "namespace": "vm",
                "annotations": {"galley.istio.io/analyze-suppress": "*"},
            },
        }
    ]
    assert invoke("analyze", "--mesh", "--name", "demo").exit_code == 0


def test_without_manifests_the_mesh_that_runs_is_asked(invoke: Invoke, mesh: FakeMesh) -> None:
    mesh.set(problems=(REFUSED,))
    assert invoke("analyze").stdout == invoke("analyze", "--mesh").stdout != ""


def test_manifests_as_they_would_be_in_the_mesh(invoke: Invoke, mesh: FakeMesh, shop: Path) -> None:
    """What they name may be there already."""
    metadata = {"name": "shpo", "namespace": "vm"}
    mesh.objects = [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": [{"name": "http", "port": 80}]}}
    ]
    alone, over = invoke("analyze", "shop.yaml"), invoke("analyze", "shop.yaml", "--mesh")
    assert LOST in alone.stdout
    assert (over.exit_code, LOST in over.stdout) == (0, False)
    assert "Info [IST0118] (Service vm/shop shop.yaml:4:" in over.stdout
    assert invoke("analyze", "shop.yaml", "--name", "demo").stdout == over.stdout


@pytest.mark.usefixtures("shop")
def test_what_is_left_out_is_said_in_full(invoke: Invoke) -> None:
    assert invoke("analyze").exit_code == 1
    assert invoke("analyze", "shop.yaml", "-S", "IST0101").exit_code == 2
