"""`pilotfish diff`: kubectl's form and exit codes, and the proxies."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Invoke
from tests.cli.fakes import NOW, FakeMesh, container, pod

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


ROUTED = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: vm}
spec:
  hosts: [shop]
  http:
  - {match: [{uri: {prefix: /old}}], directResponse: {status: 410}}
  - route: [{destination: {host: shop}}]
"""
CASES = """
manifests: []
namespace: vm
cases:
- {from: client-0, to: "http://shop/old?x=1", expect: {}}
- {from: client-0, to: "http://shop/new", expect: {}}
- {from: nobody, to: "http://shop/old", expect: {}}
"""


@pytest.fixture
def called(shop: FakeMesh) -> FakeMesh:
    spec = {"containers": [{"name": "a", "command": ["a"]}]}
    service, server = shop.objects
    service["spec"]["selector"] = server["metadata"]["labels"] = {"app": "shop"}
    shop.objects.append(live("Pod", "client-0", spec=spec, status={"podIP": "10.244.0.8"}))
    return shop


def test_requests_that_go_another_way_are_named_with_both_answers(
    called: FakeMesh, invoke: Invoke, tmp_path: Path
) -> None:
    (tmp_path / "ways.yaml").write_text(CASES)
    result = invoke("diff", "-f", "-", "--ways", "ways.yaml", stdin=ROUTED)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[-3:] == [
        "client-0.vm → http://shop/old?x=1",
        "  - answered by shop-0.vm",
        "  + 410 by the proxy of client-0.vm: the route answers 410 by itself; "
        "VirtualService vm/shop -:8 spec.http[0].directResponse says so",
    ]
    assert "/new" not in result.stdout


def test_a_program_gets_the_same(called: FakeMesh, invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "ways.yaml").write_text(CASES)
    document = json.loads(invoke("diff", "-f", "-", "--ways", "ways.yaml", "-o", "json", stdin=ROUTED).stdout)
    (way,) = document["ways"]
    assert (way["request"]["path"], way["count"]) == ("/old?x=1", 1)
    assert [each["pod"] for each in way["before"]["outcomes"]] == ["shop-0.vm"]
    assert [(each["kind"], each["status"]) for each in way["after"]["outcomes"]] == [("response", 410)]
    assert [each["name"] for each in document["objects"]] == ["shop"]
    assert {"type": "route", "name": "80", "change": "changed"} in document["proxies"][0]["changes"]


def test_requests_of_the_last_minutes_are_those_of_the_access_logs(
    called: FakeMesh, invoke: Invoke, tmp_path: Path
) -> None:
    log = tmp_path / "istio-proxy.log"
    sent = ((20, "/old"), (10, "/old"), (5, "/"), (900, "/old/1"))
    log.write_text("".join(logged(seconds, path) for seconds, path in sent))
    called.set(pods=(pod("client-0", containers=(container(), container("istio-proxy", "proxy", log=str(log)))),))
    result = invoke("diff", "-f", "-", "--ways-since", "10m", stdin=ROUTED)
    assert result.exit_code == 1
    last = result.stdout.splitlines()[-3:]
    assert last[0] == "client-0.vm → http://10.96.3.3:80/old, Host: shop (2 times)"
    assert last[2].startswith("  + 410 by the proxy of client-0.vm")


def logged(seconds: float, path: str) -> str:
    """An entry of so many seconds ago."""
    at = datetime.fromtimestamp(NOW - seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return (
        f'[{at}] "GET {path} HTTP/1.1" 200 - via_upstream - "-" 0 5 1 0 "-" "curl" "id" "shop" "10.244.0.9:80" '
        "outbound|80||shop.vm.svc.cluster.local 10.244.0.8:1 10.96.3.3:80 10.244.0.8:2 - default\n"
    )


def test_a_file_of_requests_that_cant_be_read_is_more_than_one(called: FakeMesh, invoke: Invoke) -> None:
    result = invoke("diff", "-f", "-", "--ways", "nowhere.yaml", stdin=ROUTED)
    assert result.exit_code == 2
    assert "nowhere.yaml" in result.stderr
