"""`pilotfish diff`: kubectl's form and exit codes, and the proxies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Invoke
from tests.cli.fakes import FakeMesh

SHOP = "{apiVersion: v1, kind: Service, metadata: {name: shop, namespace: vm}, spec: {ports: [{name: http, port: 80}]}}"


def live(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "vm"}, **fields}


@pytest.fixture
def shop(mesh: FakeMesh) -> FakeMesh:
    pod = {"containers": [{"name": "a", "command": ["a"]}]}
    ports = [{"name": "http", "port": 80}]
    mesh.objects = [
        live("Service", "shop", spec={"ports": ports, "clusterIP": "10.96.3.3"}),
        live("Pod", "shop-0", spec=pod, status={"podIP": "10.244.0.9"}),
    ]
    return mesh


@pytest.mark.usefixtures("shop")
def test_nothing_changes(invoke: Invoke) -> None:
    result = invoke("diff", "-f", "-", stdin=SHOP)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.usefixtures("shop")
def test_objects_then_proxies(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(SHOP.replace("80", "81"))
    result = invoke("diff", "-f", "a.yaml")
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[:2] == ["--- live/service/vm/shop", "+++ given/service/vm/shop"]
    assert "-    port: 80" in lines
    assert "+    port: 81" in lines
    header = next(i for i, line in enumerate(lines) if line.startswith("PROXY"))
    assert ["shop-0.vm", "cluster", "outbound|81||shop.vm.svc.cluster.local", "added"] in [
        line.split() for line in lines[header:]
    ]


@pytest.mark.usefixtures("shop")
def test_what_cant_be_told_is_more_than_one(invoke: Invoke) -> None:
    bad = invoke("diff", "-f", "-", stdin=SHOP.replace("port: 80", "prot: 80"))
    assert bad.exit_code == 2
    assert "UnknownField" in bad.stderr
    assert invoke("diff", "-f", "nowhere.yaml").exit_code == 2


def test_without_a_mesh_nothing_can_be_told(state: Path, invoke: Invoke) -> None:
    result = invoke("diff", "-f", "-", stdin=SHOP)
    assert result.exit_code == 2
    assert "no mesh is running" in result.stderr
