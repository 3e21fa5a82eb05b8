"""`apply`, `delete`, `scale`, `rollout`: what is sent, what is printed, how it ends."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pilotfish.model.kinds import SUPPORTED
from pilotfish.runtime.control.views import ChangesView, ChangeView, RolloutView
from tests.cli.conftest import Invoke
from tests.cli.fakes import REFUSED, FakeMesh, proxy

CALC = {"kind": "Deployment", "group": "apps", "namespace": "vm", "name": "calc"}
_GROUPS = {kind.name: kind.group for kind in SUPPORTED}


def changes(*actions: tuple[str, str, Any], **fields: Any) -> ChangesView:
    """From (kind, name, action)."""
    views = (
        ChangeView(kind=kind, group=_GROUPS[kind], namespace="vm", name=name, action=action)
        for kind, name, action in actions
    )
    return ChangesView(changes=tuple(views), **fields)


def rollout(message: str, done: bool = False) -> RolloutView:
    return RolloutView(namespace="vm", name="calc", done=done, message=message)


def asked(mesh: FakeMesh, path: str) -> list[dict[str, Any]]:
    return [body for where, body in mesh.asked if where == path]


def test_apply_sends_each_file_and_prints_kubectls_lines(mesh: FakeMesh, tmp_path: Path, invoke: Invoke) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "b.yaml").write_text("b: 1")
    (folder / "a.yml").write_text("a: 1")
    (folder / "notes.txt").write_text("no")
    mesh.changes = [
        changes(("VirtualService", "calculator", "configured"), ("ConfigMap", "x", "created")),
        changes(("Deployment", "calc", "unchanged")),
    ]
    result = invoke("apply", "-f", str(folder), "-n", "other")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "virtualservice.networking.istio.io/calculator configured",
        "configmap/x created",
        "deployment.apps/calc unchanged",
    ]
    assert asked(mesh, "/apply") == [
        {"text": "a: 1", "file": str(folder / "a.yml"), "namespace": "other"},
        {"text": "b: 1", "file": str(folder / "b.yaml"), "namespace": "other"},
    ]


def test_apply_of_nothing_fails(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.changes = [changes()]
    result = invoke("apply", "-f", "-", stdin="# nothing\n")
    assert (result.exit_code, result.stderr) == (1, "error: no objects passed to apply\n")


def test_apply_reads_standard_input(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.changes = [changes(("ConfigMap", "x", "created"))]
    assert invoke("apply", "-f", "-", stdin="kind: ConfigMap\n").stdout == "configmap/x created\n"
    assert asked(mesh, "/apply") == [{"text": "kind: ConfigMap\n", "file": "-", "namespace": "vm"}]


def test_a_refused_object_fails_and_leaves_the_others(mesh: FakeMesh, tmp_path: Path, invoke: Invoke) -> None:
    file = tmp_path / "mesh.yaml"
    file.write_text("x: 1")
    problem = msgspec.structs.replace(REFUSED, source=f"{file}:12", proxies=())
    mesh.changes = [
        changes(("Service", "good", "created"), ("VirtualService", "calculator", "refused"), problems=(problem,))
    ]
    result = invoke("apply", "-f", "mesh.yaml")
    assert result.exit_code == 1
    assert result.stdout == "service/good created\n"
    assert result.stderr == (
        "mesh.yaml:12: error: VirtualService vm/calculator spec.http[0].match[0]: "
        "Envoy refused it: bad regex; the last good form stays in force [Nack]\n"
    )


def test_a_warning_alone_does_not_fail(mesh: FakeMesh, invoke: Invoke) -> None:
    warning = msgspec.structs.replace(REFUSED, severity="warning")
    mesh.changes = [changes(("Service", "x", "created"), problems=(warning,))]
    result = invoke("apply", "-f", "-", stdin="")
    assert result.exit_code == 0
    assert "mesh.yaml:12: warning: " in result.stderr


def test_problems_that_the_change_causes_are_said_too(mesh: FakeMesh, invoke: Invoke) -> None:
    """Those of before are not; what discovery and Envoys find comes only when they have looked."""
    old = msgspec.structs.replace(REFUSED, name="old")
    mesh.set(problems=(old,))
    mesh.changes = [changes(("VirtualService", "calculator", "configured"))]
    mesh.on_apply = lambda: mesh.set(problems=(old, REFUSED))
    result = invoke("apply", "-f", "-", stdin="x")
    assert (result.exit_code, result.stdout) == (1, "virtualservice.networking.istio.io/calculator configured\n")
    assert "VirtualService vm/calculator" in result.stderr
    assert "vm/old" not in result.stderr
    assert len(asked(mesh, "/synced")) == 1


def test_apply_waits_for_every_proxy(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.changes = [changes(("ConfigMap", "x", "unchanged")), changes(("ConfigMap", "x", "unchanged"))]
    assert invoke("apply", "--wait", "--timeout", "90s", "-f", "-", stdin="x").exit_code == 0
    assert asked(mesh, "/synced") == [{"wait": "90.0"}]
    mesh.syncs = [False]
    mesh.set(proxies=(proxy("webapp-0", cds="STALE"), proxy("lonely")))
    late = invoke("apply", "--wait", "--timeout", "3s", "-f", "-", stdin="x")
    assert late.exit_code == 1
    assert late.stderr.startswith("error: applied, but webapp-0.vm did not acknowledge it within 3 s;")


def test_a_dry_run_changes_nothing_and_says_what_would_be(mesh: FakeMesh, invoke: Invoke) -> None:
    given = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: x, namespace: vm}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, namespace: vm}
spec: {hosts: [shop.example.com], http: [{route: [{destination: {host: nobody}}]}]}
"""
    mesh.objects = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "vm"}}]
    result = invoke("apply", "-f", "-", "--dry-run", stdin=given)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "configmap/x unchanged (dry run)",
        "virtualservice.networking.istio.io/shop created (dry run)",
    ]
    assert "spec.http[0].route[0].destination.host: no Service" in result.stderr
    assert asked(mesh, "/apply") == []
    assert invoke("apply", "-f", "-", "--dry-run=server", stdin="kind: Pod").exit_code == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "the path 'it' does not exist"),
        (lambda path: path.mkdir(), "folder it holds no .yaml, .yml or .json file"),
        (lambda path: path.write_bytes(b"a: \xff"), "it is not UTF-8 text"),
        (os.mkfifo, "it: it is a named pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "it: it is a device"),
        (lambda path: path.symlink_to("/proc/self/mem"), "it: it can't be read"),
        (lambda path: os.truncate(os.open(path, os.O_CREAT | os.O_WRONLY), 2**40), "it: it holds more than"),
    ],
)
def test_what_cannot_be_read_is_named(mesh: FakeMesh, tmp_path: Path, invoke: Invoke, make: Any, message: str) -> None:
    make(tmp_path / "it")
    result = invoke("apply", "-f", "it")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {message}")
    assert asked(mesh, "/apply") == []


def test_what_a_shell_pipes_is_read(mesh: FakeMesh, invoke: Invoke) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"a: b")
    os.close(writing)
    mesh.changes = [changes(("Service", "x", "created"))]
    try:
        assert invoke("apply", "-f", f"/dev/fd/{reading}").exit_code == 0
    finally:
        os.close(reading)
    assert [body["text"] for body in asked(mesh, "/apply")] == ["a: b"]


def test_delete_by_file_and_by_name(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.changes = [
        changes(("VirtualService", "calculator", "deleted")),
        changes(("Pod", "a", "deleted")),
        changes(("ConfigMap", "b", "deleted")),
    ]
    by_file = invoke("delete", "-f", "-", stdin="x")
    assert (by_file.exit_code, by_file.stdout) == (0, 'virtualservice.networking.istio.io "calculator" deleted\n')
    assert invoke("delete", "po/a", "cm/b").stdout == 'pod "a" deleted\nconfigmap "b" deleted\n'
    assert asked(mesh, "/delete") == [
        {"text": "x", "file": "-", "namespace": "vm"},
        {"kind": "Pod", "group": "", "namespace": "vm", "name": "a"},
        {"kind": "ConfigMap", "group": "", "namespace": "vm", "name": "b"},
    ]


def test_deleting_what_is_not_there_fails_unless_that_is_fine(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.changes = [changes(("ConfigMap", "x", "notfound"))] * 2
    result = invoke("delete", "cm", "x")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == 'error: configmap "x" not found in namespace "vm"\n'
    assert invoke("delete", "cm", "x", "--ignore-not-found").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "say what to delete"),
        (["pod"], 2, "say which of the pods: either names"),
        (["pod", "a", "-f", "-"], 2, "say what to delete"),
        (["pod/"], 2, "KIND/NAME"),
        (["mesh", "demo"], 1, "meshes can't be deleted"),
    ],
)
def test_delete_asks_for_what_is_missing(
    mesh: FakeMesh, invoke: Invoke, arguments: list[str], code: int, message: str
) -> None:
    result = invoke("delete", *arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert asked(mesh, "/delete") == []


@pytest.mark.parametrize("words", [["deploy/calc"], ["deployment", "calc"], ["deployments.apps/calc"]])
def test_scale(mesh: FakeMesh, invoke: Invoke, words: list[str]) -> None:
    mesh.changes = [changes(("Deployment", "calc", "scaled"))]
    assert invoke("scale", *words, "--replicas", "3").stdout == "deployment.apps/calc scaled\n"
    assert asked(mesh, "/scale") == [{**CALC, "replicas": 3, "current": None}]


def test_a_name_with_a_dot_is_looked_up(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.objects = [{"kind": "Deployment", "metadata": {"name": "calc", "namespace": "other"}}]
    mesh.changes = [changes(("Deployment", "calc", "scaled"))]
    invoke("scale", "deploy/calc.other", "--replicas", "0")
    assert asked(mesh, "/scale")[0]["namespace"] == "other"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["deploy/calc"], "missing option '--replicas'"),
        (["deploy/calc", "--replicas", "-1"], "-1 is not in the range"),
        (["calc", "--replicas", "1"], "name one object, as in deploy/NAME"),
    ],
)
def test_scale_asks_for_what_is_missing(mesh: FakeMesh, invoke: Invoke, arguments: list[str], message: str) -> None:
    result = invoke("scale", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_another_number_now_is_no_success(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.changes = [changes(("Deployment", "calc", "refused"))]
    result = invoke("scale", "deploy/calc", "--replicas", "3", "--current-replicas", "2")
    assert result.exit_code == 1
    assert result.stderr == 'error: deployment.apps "calc" was refused, and is as it was\n'


def test_rollout_status_says_each_step_once(mesh: FakeMesh, invoke: Invoke) -> None:
    waiting = 'Waiting for deployment "calc" rollout to finish: 1 of 2 updated replicas are available...'
    mesh.rollouts = [rollout(waiting), rollout(waiting), rollout('deployment "calc" successfully rolled out', True)]
    result = invoke("rollout", "status", "deploy/calc")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [waiting, 'deployment "calc" successfully rolled out']
    assert asked(mesh, "/rollout/status")[1]["said"] == waiting


def test_rollout_status_gives_up_in_time(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.rollouts = [rollout("Waiting")]
    result = invoke("rollout", "status", "deploy/calc", "--timeout", "1ms")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: timed out waiting for deployment calc.vm")
    assert invoke("rollout", "status", "deploy/calc", "--no-watch").exit_code == 0


def test_a_rollout_past_its_deadline_fails(mesh: FakeMesh, invoke: Invoke) -> None:
    late = msgspec.structs.replace(rollout('deployment "calc" exceeded its progress deadline'), failed=True)
    mesh.rollouts = [late]
    result = invoke("rollout", "status", "deploy/calc")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith('error: deployment "calc" exceeded its progress deadline; ')


def test_rollout_status_of_nothing(mesh: FakeMesh, invoke: Invoke) -> None:
    result = invoke("rollout", "status", "deploy/absent")
    assert (result.exit_code, result.stderr) == (1, "error: no such thing here\n")


def test_rollout_restart_through_the_group(mesh: FakeMesh, invoke: Invoke) -> None:
    mesh.changes = [changes(("Deployment", "calc", "restarted"))]
    result = invoke("rollout", "--name", "demo", "restart", "deploy/calc", "-n", "other")
    assert result.stdout == "deployment.apps/calc restarted\n"
    assert asked(mesh, "/rollout/restart") == [{**CALC, "namespace": "other"}]


def test_a_bad_duration_is_a_usage_error(mesh: FakeMesh, invoke: Invoke) -> None:
    result = invoke("rollout", "status", "deploy/calc", "--timeout", "soon")
    assert result.exit_code == 2
    assert "'soon' is no duration" in result.stderr


@pytest.mark.parametrize(
    ("words", "kind"),
    [(["sts/calc"], "StatefulSet"), (["statefulset", "calc"], "StatefulSet"), (["rs/calc"], "ReplicaSet")],
)
def test_scale_takes_every_kind_that_has_replicas(mesh: FakeMesh, invoke: Invoke, words: list[str], kind: str) -> None:
    mesh.changes = [changes((kind, "calc", "scaled"))]
    assert invoke("scale", *words, "--replicas", "3").exit_code == 0
    assert asked(mesh, "/scale") == [{**CALC, "kind": kind, "replicas": 3, "current": None}]


@pytest.mark.parametrize(("word", "kind"), [("ds", "DaemonSet"), ("statefulsets.apps", "StatefulSet")])
def test_rollout_takes_every_kind_that_rolls(mesh: FakeMesh, invoke: Invoke, word: str, kind: str) -> None:
    mesh.changes = [changes((kind, "calc", "restarted"))]
    assert invoke("rollout", "restart", f"{word}/calc").exit_code == 0
    assert asked(mesh, "/rollout/restart") == [{**CALC, "kind": kind}]


def test_a_job_is_neither_scaled_nor_rolled_out(mesh: FakeMesh, invoke: Invoke) -> None:
    scaled = invoke("scale", "job/calc", "--replicas", "3")
    assert (scaled.exit_code, scaled.stderr) == (
        1,
        'error: "job/calc" names no Deployment or ReplicaSet or StatefulSet: use deploy/NAME, rs/NAME or sts/NAME\n',
    )
    assert "use deploy/NAME, sts/NAME or ds/NAME" in invoke("rollout", "status", "job/calc").stderr
