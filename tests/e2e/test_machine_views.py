"""Pods that their machine's one Envoy serves, as commands that look show them: each what is its own."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from pilotfish.explain.document import read_schema
from tests.e2e.harness import ADD, CALCULATOR, MakeMesh, Mesh

WEBAPP = "webapp-0.vm"
MACHINE = os.uname().nodename


LATE = """
apiVersion: v1
kind: Pod
metadata: {name: late-0, namespace: vm}
spec: {containers: [{name: app, command: [sleep, infinity]}]}
"""


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    with make_mesh("e2e-views", CALCULATOR, "--proxy", "node") as mesh:
        yield mesh


def table(mesh: Mesh, *command: str) -> list[list[str]]:
    """Without its head."""
    return [line.split() for line in mesh.call(*command).stdout.splitlines()[1:]]


def names(mesh: Mesh, kind: str, proxy: str) -> set[str]:
    found: list[dict[str, Any]] = mesh.json("proxy-config", kind, proxy)
    return {each.get("name") or each["cluster_name"] for each in found}


def test_a_way_names_the_machine_whose_proxy_takes_it(mesh: Mesh) -> None:
    told = json.loads(mesh.call("explain", WEBAPP, ADD, "--live", "-o", "json").stdout)
    jsonschema.validate(told, read_schema())
    of_proxies = {(step["pod"], step["machine"]) for step in told["steps"] if "machine" in step}
    assert {machine for _, machine in of_proxies} == {MACHINE}
    assert {pod.partition("-")[0] for pod, _ in of_proxies} == {"webapp", "calculator"}
    assert {each["kind"] for each in told["outcomes"]} == {"delivered"}
    assert any(step.get("live") == "confirmed" for step in told["steps"])
    assert not any(step.get("live") == "contradicted" for step in told["steps"])
    shown = mesh.call("explain", WEBAPP, ADD).stdout
    assert f"client {WEBAPP}, by the proxy of machine {MACHINE} → {ADD}" in shown
    assert f"proxy of machine {MACHINE}".upper() in mesh.call("explain", WEBAPP, ADD, "-o", "svg").stdout
    assert f"proxy of machine {MACHINE}" in mesh.call("explain", WEBAPP, ADD, "-o", "html").stdout


def test_what_the_mesh_explains_is_what_its_manifests_say(mesh: Mesh, tmp_path: Any) -> None:
    config = tmp_path / "mesh.yaml"
    config.write_text("accessLogFile: /dev/stdout\ndefaultConfig: {proxyMetadata: {PILOTFISH_PROXY: node}}\n")
    asked = ("explain", WEBAPP, ADD, "-o", "json")
    offline = mesh.pilotfish(*asked, "-f", str(CALCULATOR), "--mesh-config", str(config)).stdout
    assert ends(mesh.call(*asked).stdout) == ends(offline)


def ends(way: str) -> set[tuple[str, str, float]]:
    return {(each["kind"], each["cluster"], each["probability"]) for each in json.loads(way)["outcomes"]}


def test_a_pod_is_shown_what_it_uses_of_the_machines_proxy(mesh: Mesh) -> None:
    listeners = names(mesh, "listeners", WEBAPP)
    assert {f"virtualOutbound~{WEBAPP}", f"virtualInbound~{WEBAPP}", "0.0.0.0_8888"} <= listeners
    assert not any("~calculator" in name for name in listeners)
    assert {"8888~vm", "8889~vm"} <= names(mesh, "routes", WEBAPP)
    clusters = names(mesh, "clusters", WEBAPP)
    assert {"outbound|8888|v1|calculator.vm.svc.cluster.local", f"inbound|8889||~{WEBAPP}"} <= clusters
    assert not any(name.startswith("inbound|8888|") or name == "xds-grpc" for name in clusters)
    (certificate,) = (row for row in table(mesh, "proxy-config", "secret", WEBAPP) if row[1] == "Cert")
    assert certificate[0].endswith(".vm.webapp-0")
    endpoints = {row[-1] for row in table(mesh, "proxy-config", "endpoints", WEBAPP)}
    assert endpoints <= clusters
    dump = mesh.config_dump(WEBAPP)
    assert "calculator-v1" not in json.dumps(
        [each for each in dump["configs"] if each["@type"].endswith("ListenersConfigDump")]
    )
    rows = [line for line in mesh.call("proxy-config", "listeners", WEBAPP).stdout.splitlines() if " 8888 " in line]
    assert any("Trans: raw_buffer; App: h2c,http/1.0,http/1.1" in row and "Route: 8888~vm" in row for row in rows)


def test_all_that_the_machines_proxy_has_is_shown_by_its_name(mesh: Mesh) -> None:
    for name in (MACHINE, f"{MACHINE}.istio-system"):
        listeners = names(mesh, "listeners", name)
        assert len({each for each in listeners if each.startswith("virtualInbound~")}) == 3
    pods = {row[0] for row in table(mesh, "proxy-config", "listeners", MACHINE)}
    assert WEBAPP in pods
    assert [row[0] for row in table(mesh, "proxy-status", MACHINE)] == [f"{MACHINE}.istio-system"]
    (served,) = table(mesh, "proxy-status", WEBAPP)
    assert served[-2:] == ["machine", MACHINE]


def test_the_log_level_is_the_machines(mesh: Mesh) -> None:
    refused = mesh.call("proxy-config", "log", WEBAPP, "--level", "debug", check=False)
    assert refused.returncode == 1
    assert f"'pilotfish proxy-config log {MACHINE}' sets what it writes" in refused.stderr
    assert mesh.call("proxy-config", "log", MACHINE).stdout.startswith(f"machine {MACHINE}:\n")


def test_each_pod_serves_what_its_own_listeners_count(mesh: Mesh) -> None:
    assert mesh.status_code(WEBAPP, ADD) == "200"

    def taken(pod: str) -> dict[str, str]:
        page = mesh.curl(pod, "http://127.0.0.1:15020/stats/prometheus").stdout
        assert "pilotfish_agent_ready 1" in page
        return dict(line.rsplit(" ", 1) for line in page.splitlines() if line.startswith("envoy_"))

    total = 'envoy_listener_downstream_cx_total{listener_address="0.0.0.0_15006"}'
    servers = [f"{pod['name']}.vm" for pod in mesh.pods("calculator")]
    assert sum(int(taken(pod).get(total, 0)) for pod in servers) >= 1
    assert total not in taken(WEBAPP)


def test_a_difference_is_that_of_the_machines_proxy(mesh: Mesh) -> None:
    """What is to come is served by it, too, as `up` was told."""
    more = (
        (CALCULATOR / "mesh.yaml")
        .read_text()
        .replace("weight: 50", "weight: 49", 1)
        .replace("weight: 50", "weight: 51", 1)
    )
    file = mesh.sources.parent / "more.yaml"
    file.write_text(f"{more}\n---\n{LATE}")
    told = json.loads(mesh.call("diff", "-f", str(file), "-o", "json", check=False).stdout)
    (changed,) = told["proxies"]
    assert changed["proxies"] == [f"{MACHINE}.istio-system"]
    names = {each["name"]: each["change"] for each in changed["changes"]}
    assert names["virtualInbound~late-0.vm"] == "added"
    assert names["8888~vm"] == "changed"
    assert not any(name.endswith(f"~{WEBAPP}") for name in names)
