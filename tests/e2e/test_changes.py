"""Changes while the mesh runs: a saved file, apply, delete, scale. What is wrong is said; what is right goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import ADD, CALCULATOR, WEBAPP, MakeMesh, Mesh
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    with make_mesh("e2e-changes", CALCULATOR) as mesh:
        yield mesh


@pytest.fixture
def manifest(mesh: Mesh) -> Iterator[str]:
    """The example's text. What a test saved over it is undone."""
    path = mesh.sources / "mesh.yaml"
    text = path.read_text()
    yield text
    if path.read_text() != text:
        mesh.write("mesh.yaml", text)
        wait_until("both versions answer again", lambda: versions(mesh) == {"v1", "v2"})


def versions(mesh: Mesh) -> set[str]:
    answers = mesh.exec(WEBAPP, "sh", "-c", f"for i in $(seq 20); do curl -sS -m 5 '{ADD}'; done", check=False).stdout
    return {v for v in ("v1", "v2") if f'"version": "{v}"' in answers}


def weights(text: str, v1: int, v2: int) -> str:
    head, _, tail = text.rpartition("weight: 50")
    head2, _, middle = head.rpartition("weight: 50")
    return f"{head2}weight: {v1}{middle}weight: {v2}{tail}"


def test_saving_the_file_moves_the_traffic(mesh: Mesh, manifest: str) -> None:
    mesh.write("mesh.yaml", weights(manifest, 100, 0))
    wait_until("only v1 answers", lambda: versions(mesh) == {"v1"})


def test_one_bad_object_is_said_with_its_line_and_the_others_go_on(mesh: Mesh, manifest: str) -> None:
    changed = weights(manifest, 0, 100).replace("  selector:\n    app: webapp", "  selectr:\n    app: webapp")
    line = next(i for i, text in enumerate(changed.splitlines(), 1) if "selectr" in text)
    mesh.write("mesh.yaml", changed)
    wait_until("only v2 answers", lambda: versions(mesh) == {"v2"})
    problem = wait_until("the Problem is in status", lambda: mesh.status.get("problems"))[0]
    assert (problem["kind"], problem["namespace"], problem["name"]) == ("Service", "vm", "webapp")
    assert problem["field"] == "spec.selectr"
    assert problem["source"].endswith(f"mesh.yaml:{line}")
    assert "selector" in problem["message"]
    assert mesh.status_code(WEBAPP, "http://webapp:8889/healthz") == "200", "its last good form stays in force"


def test_what_is_wrong_between_objects_is_said_with_the_line_of_its_field(mesh: Mesh, manifest: str) -> None:
    changed = manifest.replace(
        "            subset: v1\n          weight: 50", "            subset: v9\n          weight: 50"
    )
    line = next(i for i, text in enumerate(changed.splitlines(), 1) if "subset: v9" in text)
    mesh.write("mesh.yaml", changed)
    found = wait_until("it is said", lambda: [p for p in mesh.status["problems"] if p["reason"] == "UnknownSubset"])
    assert found[0]["source"].endswith(f"mesh.yaml:{line}")
    mesh.write("mesh.yaml", manifest)
    wait_until("it is said no more", lambda: not mesh.status["problems"])


def test_all_mistakes_are_shown_at_once(mesh: Mesh, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: bad, namespace: vm}\n"
        "spec:\n  prots: []\n  ports:\n  - {name: http, port: eighty}\n  - {name: http, port: 99999}\n"
        "---\napiVersion: v1\nkind: Srvice\nmetadata: {name: x}\n"
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: good, namespace: vm}\n"
        "spec:\n  selector: {app: webapp}\n  ports: [{name: http, port: 8889}]\n"
    )
    done = mesh.call("apply", "-f", bad, check=False)
    assert done.returncode == 1
    assert "service/good created" in done.stdout
    for expected in ("bad.yaml:5", "spec.prots", "bad.yaml:7", "spec.ports[0].port", "bad.yaml:8", "Srvice"):
        assert expected in done.stderr
    mesh.call("delete", "service", "good", "-n", "vm")


def test_apply_and_delete(mesh: Mesh, tmp_path: Path) -> None:
    one_way = tmp_path / "one-way.yaml"
    one_way.write_text(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: calculator, namespace: vm}\n"
        "spec:\n  hosts: [calculator]\n  http:\n  - route: [{destination: {host: calculator, subset: v2}}]\n"
    )
    applied = mesh.call("apply", "-f", one_way)
    assert applied.stdout.strip() == "virtualservice.networking.istio.io/calculator configured"
    wait_until("only v2 answers", lambda: versions(mesh) == {"v2"})
    assert "unchanged" in mesh.call("apply", "-f", one_way).stdout
    deleted = mesh.call("delete", "-f", one_way)
    assert deleted.stdout.strip() == 'virtualservice.networking.istio.io "calculator" deleted'
    wait_until("both versions answer", lambda: versions(mesh) == {"v1", "v2"})
    again = mesh.call("delete", "-f", one_way, check=False)
    assert again.returncode == 1
    assert "not found" in again.stderr.lower()


def test_apply_from_standard_input(mesh: Mesh) -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: fresh, namespace: vm}\ndata: {a: b}\n"
    assert mesh.call("apply", "-f", "-", stdin=text).stdout.strip() == "configmap/fresh created"
    assert "fresh" in mesh.call("get", "configmaps", "-n", "vm").stdout
    mesh.call("delete", "configmap", "fresh", "-n", "vm")


def test_header_and_path_matches(mesh: Mesh, manifest: str) -> None:
    head, _, _ = manifest.rpartition("  http:\n")
    mesh.write(
        "mesh.yaml",
        head + "  http:\n"
        "    - match: [{uri: {prefix: /add}, headers: {x-canary: {exact: 'yes'}}}]\n"
        "      route: [{destination: {host: calculator, subset: v2}}]\n"
        "    - match: [{uri: {prefix: /add}}]\n"
        "      route: [{destination: {host: calculator, subset: v1}}]\n",
    )
    wait_until("only v1 answers", lambda: versions(mesh) == {"v1"})
    assert '"v2"' in mesh.curl(WEBAPP, ADD, "-H", "x-canary: yes").stdout
    assert mesh.status_code(WEBAPP, "http://calculator:8888/other") == "404"


def test_an_unready_pod_gets_no_requests(mesh: Mesh) -> None:
    mesh.call("scale", "deploy/calculator-v2", "-n", "vm", "--replicas", "0")
    wait_until("v2 is gone", lambda: versions(mesh) == {"v1"}, within=30)
    mesh.call("scale", "deploy/calculator-v2", "-n", "vm", "--replicas", "1")
    wait_until("v2 is back", lambda: versions(mesh) == {"v1", "v2"}, within=30)
