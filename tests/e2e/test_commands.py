"""Commands tell the truth: what users of kubectl and istioctl type does, and exits as, what they expect."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
import yaml

from tests.e2e.harness import CALCULATOR, PILOTFISH, PROXY, MakeMesh, Mesh
from tests.waiting import wait_until

VM = ("-n", "vm")
V1 = "deploy/calculator-v1"
SCRATCH = """
apiVersion: v1
kind: ConfigMap
metadata: {name: NAME, labels: {made: by-hand}}
data: {a: b}
"""
CRASHING = """
apiVersion: v1
kind: Pod
metadata: {name: crashing}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: app, command: [sh, -c, "echo the last words; exit 7"]}]
"""


@pytest.fixture(scope="module")
def mesh(make_mesh: MakeMesh) -> Iterator[Mesh]:
    """The example, for all that leaves it as it was."""
    with make_mesh("e2e-commands", CALCULATOR) as mesh:
        yield mesh


def output(mesh: Mesh, command: str, *arguments: str | Path) -> str:
    return mesh.call(command, *arguments).stdout


def refused(mesh: Mesh, command: str, *arguments: str, code: int = 1) -> str:
    """What a command says that fails."""
    done = mesh.call(command, *arguments, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    return done.stderr


def column(text: str, number: int = 0) -> list[str]:
    return [line.split()[number] for line in text.splitlines() if line]


def document(mesh: Mesh, *words: str) -> Any:
    return json.loads(output(mesh, "get", *words, *VM, "-o", "json"))


# get


def test_endpoints_are_the_pods(mesh: Mesh) -> None:
    addresses = sorted(pod["addresses"][0] for pod in mesh.pods("calculator"))
    path = "{.subsets[*].addresses[*].ip}:{.subsets[*].ports[*].port}"
    told = output(mesh, "get", "endpoints/calculator", *VM, "-o", f"jsonpath={path}")
    assert sorted(told.partition(":")[0].split()) == addresses
    assert told.endswith(":8888")
    (found,) = document(mesh, "endpointslices", "-l", "kubernetes.io/service-name=calculator")["items"]
    assert sorted(each["addresses"][0] for each in found["endpoints"]) == addresses
    assert all(each["conditions"]["ready"] for each in found["endpoints"])


def test_all_is_what_runs(mesh: Mesh) -> None:
    names = column(output(mesh, "get", "all", *VM))
    assert {name.partition("/")[0] for name in names if "/" in name} == {
        "pod", "service", "deployment.apps", "replicaset.apps"
    }  # fmt: skip
    assert {"pod/webapp-0", "service/webapp", "deployment.apps/calculator-v1"} <= set(names)


def test_the_machine_and_the_namespaces_in_use_are_there(mesh: Mesh) -> None:
    (node,) = document(mesh, "nodes")["items"]
    assert node["metadata"]["name"] == os.uname().nodename
    assert document(mesh, "pod", "webapp-0")["spec"]["nodeName"] == os.uname().nodename
    assert {"default", "istio-system", "vm"} <= set(column(output(mesh, "get", "ns")))


def test_events_say_what_happened(mesh: Mesh) -> None:
    said = output(mesh, "get", "events", *VM)
    assert "Successfully assigned vm/webapp-0" in said
    assert "Started container webapp" in said
    assert "Created pod: calculator-v1-" in said


@pytest.mark.parametrize(
    ("form", "printed"),
    [
        ("jsonpath={.items[?(@.metadata.name=='webapp-0')].spec.containers[*].name}", "webapp"),
        ('jsonpath={range .items[*]}{.status.phase}{"\\n"}{end}', "Running\nRunning\nRunning\n"),
        ("custom-columns=POD:.metadata.labels.app,PORT:.spec.containers[*].ports[0].containerPort",
         "POD          PORT\ncalculator   8888\ncalculator   8888\nwebapp       8889\n"),
    ],
)  # fmt: skip
def test_output_takes_paths(mesh: Mesh, form: str, printed: str) -> None:
    assert output(mesh, "get", "pods", *VM, "-o", form) == printed


def test_names_labels_and_order(mesh: Mesh) -> None:
    assert output(mesh, "get", "svc", *VM, "-o", "name") == "service/calculator\nservice/webapp\n"
    assert "app=webapp" in output(mesh, "get", "pod", "webapp-0", *VM, "--show-labels")
    shown = output(mesh, "get", "pods", *VM, "-L", "version", "--no-headers")
    assert sorted(line.split()[-1] for line in shown.splitlines()) == ["v1", "v1", "v2"]
    by_version = output(mesh, "get", "pods", *VM, "--sort-by", ".metadata.labels.pod-template-hash", "-o", "name")
    assert by_version.splitlines()[0] == "pod/webapp-0"  # it has no such label


def test_fields_select(mesh: Mesh) -> None:
    assert output(mesh, "get", "pods", *VM, "--field-selector", "status.phase!=Running", "-o", "name") == ""
    chosen = output(mesh, "get", "pods", *VM, "--field-selector", "metadata.name=webapp-0,status.phase=Running")
    assert column(chosen) == ["NAME", "webapp-0"]
    about = "involvedObject.name=webapp-0,reason=Started"
    assert "Started container webapp" in output(mesh, "get", "events", *VM, "--field-selector", about)


def test_watching_prints_documents_too(mesh: Mesh) -> None:
    command = [str(PILOTFISH), "get", "cm", "-w", "-o", "name", "--name", mesh.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=mesh.environment) as process:
        try:
            assert process.stdout is not None
            mesh.call("apply", "-f", "-", stdin=SCRATCH.replace("NAME", "watched"))
            assert process.stdout.readline() == "configmap/watched\n"
        finally:
            process.kill()
    output(mesh, "delete", "cm", "watched")


def test_a_pods_document_has_its_containers_states(mesh: Mesh) -> None:
    status = document(mesh, "pod", "webapp-0")["status"]
    (app,) = status["containerStatuses"]
    assert (app["name"], app["ready"], app["restartCount"], list(app["state"])) == ("webapp", True, 0, ["running"])
    assert [each["name"] for each in status["initContainerStatuses"]] == ["istio-proxy"]
    assert {each["type"]: each["status"] for each in status["conditions"]}["Ready"] == "True"


# describe, wait


def test_describe_shows_what_is_known(mesh: Mesh) -> None:
    pod = output(mesh, "describe", "pod", "webapp-0", *VM)
    for line in ("Name:             webapp-0", "State:          Running", "Started container webapp"):
        assert line in pod
    service = output(mesh, "describe", "svc/calculator", *VM)
    assert all(f"{each['addresses'][0]}:8888" in service for each in mesh.pods("calculator"))
    assert "1 desired | 1 updated | 1 total | 1 available" in output(mesh, "describe", V1, *VM)
    assert "subset: v1" in output(mesh, "describe", "vs", *VM)
    assert 'pods "nope" not found' in refused(mesh, "describe", "pod", "nope", *VM)


def test_wait_waits(mesh: Mesh) -> None:
    assert output(mesh, "wait", "--for=condition=Ready", "pod/webapp-0", *VM) == "pod/webapp-0 condition met\n"
    assert len(column(output(mesh, "wait", "--for=condition=available", "deploy", "--all", *VM))) == 2
    assert "condition met" in output(mesh, "wait", "--for=jsonpath={.status.phase}=Running", "pod", "webapp-0", *VM)
    late = refused(mesh, "wait", "--for=condition=Nope", "pod/webapp-0", *VM, "--timeout", "0.1s")
    assert "timed out waiting for the condition on pods/webapp-0" in late

    def waiting(condition: str) -> subprocess.Popen[str]:
        command = [str(PILOTFISH), "wait", f"--for={condition}", "cm/awaited", "--name", mesh.name]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=mesh.environment)

    with waiting("create") as process:
        mesh.call("apply", "-f", "-", stdin=SCRATCH.replace("NAME", "awaited"))
        assert process.communicate(timeout=30)[0] == "configmap/awaited created\n"
    with waiting("delete") as process:
        output(mesh, "delete", "cm", "awaited")
        assert process.communicate(timeout=30)[0] in ("configmap/awaited deleted\n", "")  # it may have gone before


# logs, exec, cp, top


def test_logs_of_the_last_minutes_with_their_times(mesh: Mesh) -> None:
    wait_until("it is probed", lambda: mesh.call("logs", "webapp-0.vm").stdout)
    stamped = output(mesh, "logs", "webapp-0.vm", "--timestamps", "--tail", "1")
    time, _, line = stamped.partition(" ")
    assert time.endswith("Z")
    assert line in output(mesh, "logs", "webapp-0.vm", "--since-time", time)
    assert output(mesh, "logs", "webapp-0.vm", "--since-time", "2100-01-01T00:00:00Z") == ""
    assert len(output(mesh, "logs", "webapp-0.vm", "--since", "1h")) >= len(line)
    both = output(mesh, "logs", *VM, "-l", "app=calculator", "--all-containers", "--prefix", "--tail", "1")
    assert {each.partition("/")[2].partition("-")[0] for each in both.splitlines()} == {"calculator"}


def test_a_service_stands_for_its_pods(mesh: Mesh) -> None:
    assert output(mesh, "exec", "svc/webapp", *VM, "--", "hostname") == "webapp-0\n"
    assert output(mesh, "logs", "svc/calculator", *VM, "--tail", "1") != ""
    assert "webapp-0.vm" in output(mesh, "proxy-status", "svc/webapp", *VM)


def test_a_previous_run_and_why_it_ended(mesh: Mesh) -> None:
    mesh.call("apply", "-f", "-", stdin=CRASHING)
    try:
        wait_until("it has been started again", lambda: "BackOff" in output(mesh, "describe", "pod", "crashing"))
        wait_until(
            "the run before is there",
            lambda: mesh.call("logs", "crashing", "-p", check=False).stdout == "the last words\n",
            within=30,
        )
        (state,) = json.loads(output(mesh, "get", "pod", "crashing", "-o", "json"))["status"]["containerStatuses"]
        assert state["restartCount"] >= 1
        ended = state["lastState"] if "waiting" in state["state"] else state["state"]
        assert ended["terminated"]["exitCode"] == 7
    finally:
        mesh.call("delete", "pod", "crashing")


@pytest.mark.parametrize("container", ["webapp", "istio-proxy"])
def test_exec_exits_as_a_shell_would(mesh: Mesh, container: str) -> None:
    def code(*command: str) -> int:
        return mesh.call("exec", "webapp-0.vm", "-c", container, "--", *command, check=False).returncode

    assert [code("nosuch"), code("/etc/passwd"), code("sh", "-c", "exit 3")] == [127, 126, 3]
    assert [code("sh", "-c", f"kill -{name} $$") for name in ("TERM", "KILL")] == [143, 137]


def test_a_terminal_that_is_resized(mesh: Mesh) -> None:
    controller, terminal = pty.openpty()
    try:
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 20, 50, 0, 0))
        script = "trap 'stty size; exit' WINCH; stty size; while :; do sleep 0.05; done"
        own = ["setsid", "--ctty", "--wait"]  # as a shell does for what it starts: the terminal's signals are for it
        command = [*own, str(PILOTFISH), "exec", "-it", "webapp-0.vm", "--name", mesh.name, "--", "sh", "-c", script]
        with subprocess.Popen(
            command, env=mesh.environment, stdin=terminal, stdout=terminal, stderr=terminal
        ) as process:
            try:
                assert os.read(controller, 100).split() == [b"20", b"50"]
                fcntl.ioctl(controller, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 70, 0, 0))
                assert os.read(controller, 100).split() == [b"30", b"70"]
                assert process.wait(20) == 0
            finally:
                process.kill()
    finally:
        os.close(controller)
        os.close(terminal)


def test_files_are_copied_both_ways(mesh: Mesh, tmp_path: Path) -> None:
    (tmp_path / "in" / "below").mkdir(parents=True)
    (tmp_path / "in" / "below" / "file").write_text("hello")
    place = f"/tmp/{mesh.name}"
    try:
        output(mesh, "cp", tmp_path / "in", f"vm/webapp-0:{place}")
        assert mesh.exec("webapp-0.vm", "cat", f"{place}/below/file").stdout == "hello"
        output(mesh, "cp", f"webapp-0:{place}/below", tmp_path / "out", *VM)
        assert (tmp_path / "out" / "file").read_text() == "hello"
        assert "not all was copied" in mesh.call("cp", "vm/webapp-0:/nope", tmp_path / "x", check=False).stderr
    finally:
        mesh.exec("webapp-0.vm", "rm", "-rf", place)


def test_top_measures(mesh: Mesh) -> None:
    def megabytes(text: str) -> list[int]:
        return [int(line.split()[-1].removesuffix("Mi")) for line in text.splitlines()[1:]]

    whole = megabytes(output(mesh, "top", "pod", "webapp-0", *VM))
    parts = megabytes(output(mesh, "top", "pods", "webapp-0", *VM, "--containers"))
    assert len(parts) == (1 if PROXY == "node" else 2)
    assert all(part > 0 for part in parts)
    assert abs(whole[0] - sum(parts)) <= 5
    assert os.uname().nodename in output(mesh, "top", "nodes")


# proxy-config, proxy-status


@pytest.mark.sidecars
def test_envoys_log_levels(mesh: Mesh) -> None:
    def level(*options: str) -> str:
        lines = output(mesh, "proxy-config", "log", "webapp-0.vm", *options).splitlines()
        return next(line.split()[1] for line in lines if line.strip().startswith("http:"))

    assert [level(), level("--level", "http:debug,router:info"), level("--level", "warn"), level("--reset")] == [
        "warning", "debug", "warning", "warning"
    ]  # fmt: skip
    assert "is no level" in refused(mesh, "proxy-config", "log", "webapp-0.vm", "--level", "loud", code=2)


def test_the_name_is_the_meshs(mesh: Mesh) -> None:
    routes = output(mesh, "proxy-config", "routes", "webapp-0.vm", "--route", "8888")
    assert {name.partition("~")[0] for name in column(routes)} == {"NAME", "8888"}


# Changes


def test_delete_by_labels_and_all(mesh: Mesh) -> None:
    for name in ("one", "two"):
        mesh.call("apply", "-n", "scratch", "-f", "-", stdin=SCRATCH.replace("NAME", name))
    mesh.call("apply", "-n", "scratch", "-f", "-", stdin=SCRATCH.replace("NAME", "three").replace("by-hand", "else"))
    gone = output(mesh, "delete", "cm", "-l", "made=by-hand", "-n", "scratch")
    assert gone == 'configmap "one" deleted\nconfigmap "two" deleted\n'
    assert output(mesh, "delete", "cm", "--all", "-n", "scratch") == 'configmap "three" deleted\n'
    assert "say which of the configmaps" in refused(mesh, "delete", "cm", code=2)


def test_labels_annotations_and_patches(mesh: Mesh) -> None:
    def path(text: str) -> str:
        return output(mesh, "get", "dr/calculator", *VM, "-o", f"jsonpath={{{text}}}")

    assert "labeled" in output(mesh, "label", "dr", "calculator", *VM, "tier=one")
    assert "has tier=one already" in refused(mesh, "label", "dr/calculator", *VM, "tier=two")
    output(mesh, "label", "dr/calculator", *VM, "tier=two", "--overwrite")
    output(mesh, "annotate", "dr/calculator", *VM, "note=mine")
    assert path(".metadata.labels.tier") + path(".metadata.annotations.note") == "twomine"
    output(mesh, "label", "dr/calculator", *VM, "tier-")
    assert path(".metadata.labels") in ("", "{}")
    patch = '{"spec": {"subsets": [{"name": "v2", "labels": {"version": "v2"}}]}}'
    wrong = mesh.call("patch", "dr/calculator", *VM, "-p", patch.replace("subsets", "subset"), check=False)
    assert (wrong.returncode, "did you mean 'subsets'?" in wrong.stderr) == (1, True)
    output(mesh, "patch", "dr/calculator", *VM, "-p", patch)
    assert path(".spec.subsets[*].name") == "v2"
    first = '[{"op": "add", "path": "/spec/subsets/0", "value": {"name": "v1", "labels": {"version": "v1"}}}]'
    output(mesh, "patch", "dr/calculator", *VM, "--type", "json", "-p", first)
    assert path(".spec.subsets[*].name") == "v1 v2"
    renamed = refused(mesh, "patch", "dr/calculator", *VM, "-p", '{"metadata": {"name": "other"}}')
    assert "its kind, name and namespace can't be changed" in renamed
    owned = next(pod["name"] for pod in mesh.pods("calculator"))
    assert "as its template says" in refused(mesh, "label", "pod", owned, *VM, "a=b")


def test_a_namespace_that_nobody_wrote_can_be_labelled(mesh: Mesh) -> None:
    """As one does first of all with Istio."""
    assert output(mesh, "label", "namespace", "default", "team=one") == "namespace/default labeled\n"
    assert column(output(mesh, "get", "ns", "-l", "team=one", "--no-headers")) == ["default"]
    output(mesh, "label", "ns/default", "team-")
    assert "not found" in refused(mesh, "label", "namespace", "nowhere", "team=one")


def test_an_editor_changes_an_object(mesh: Mesh) -> None:
    def edit(editor: str) -> subprocess.CompletedProcess[str]:
        environment = {**mesh.environment, "KUBE_EDITOR": editor}
        command = [str(PILOTFISH), "edit", "vs/calculator", *VM, "--name", mesh.name]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)

    assert edit("true").stdout == "Edit cancelled, no changes made.\n"
    assert "edited" in edit("sed -i s/weight/wait/2000").stdout + edit("sed -i 's/subset: v1/subset: v2/'").stdout
    shown = document(mesh, "vs", "calculator")
    assert {each["destination"]["subset"] for each in shown["spec"]["http"][0]["route"]} == {"v2"}
    failed = edit("sed -i 's/  http:/  htp:/'")
    kept = Path(failed.stderr.rpartition("kept in ")[2].strip())
    try:
        assert (failed.returncode, "htp:" in kept.read_text()) == (1, True)
    finally:
        kept.unlink()


def test_a_rollout_is_held_changed_and_undone(mesh: Mesh) -> None:
    def version() -> str:
        return output(mesh, "exec", V1, *VM, "--", "sh", "-c", "echo $VERSION").strip()

    output(mesh, "rollout", "pause", V1, *VM)
    assert "is already paused" in refused(mesh, "rollout", "pause", V1, *VM)
    output(mesh, "set", "env", V1, *VM, "VERSION=v9")
    assert version() == "v1"
    output(mesh, "rollout", "resume", V1, *VM)
    output(mesh, "rollout", "status", V1, *VM)
    assert version() == "v9"
    assert "VERSION=v9" in output(mesh, "set", "env", V1, *VM, "--list")
    assert column(output(mesh, "rollout", "history", V1, *VM))[2:] == ["1", "2"]
    template = yaml.safe_load(output(mesh, "rollout", "history", V1, *VM, "--revision", "1"))
    assert template["spec"]["containers"][0]["env"][0] == {"name": "VERSION", "value": "v1"}
    output(mesh, "rollout", "undo", V1, *VM)
    output(mesh, "rollout", "status", V1, *VM)
    assert version() == "v1"
    assert "has no revision 99" in refused(mesh, "rollout", "undo", V1, *VM, "--to-revision", "99")
    assert "image updated" in output(mesh, "set", "image", V1, *VM, "calculator=calculator:2")
    assert "has no container nope" in refused(mesh, "set", "image", V1, *VM, "nope=x")
    output(mesh, "rollout", "undo", V1, *VM)
    output(mesh, "rollout", "status", V1, *VM)


def test_what_was_refused_is_listed_until_it_is_mended(mesh: Mesh) -> None:
    broken = "apiVersion: v1\nkind: Service\nmetadata: {name: broken}\nspec: {ports: [{prt: 1}]}\n"
    assert mesh.call("apply", "-f", "-", stdin=broken, check=False).returncode == 1
    assert "prt" in output(mesh, "get", "problems")
    assert mesh.call("status", check=False).returncode == 1
    mesh.call("apply", "-f", "-", stdin=broken.replace("prt", "port"))
    assert "prt" not in output(mesh, "get", "problems")
    output(mesh, "delete", "svc", "broken")
    assert mesh.call("status", check=False).returncode == 0


# up


WRONG = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: wrong}
spec: {hosts: [web], http: [{rout: []}]}
---
apiVersion: v1
kind: Pod
metadata: {name: quiet}
spec:
  containers: [{name: c, command: [sleep, infinity]}]
"""


def test_up_fails_where_something_is_wrong_and_the_mesh_stays(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(WRONG)
    environment = {**os.environ, "PILOTFISH_STATE": str(tmp_path / "state"), "NO_COLOR": "1"}
    mesh = Mesh(f"e2e-wrong-{os.getpid()}", tmp_path / "state", tmp_path, environment)
    try:
        started = mesh.call("up", tmp_path / "wrong.yaml", "-d", check=False)
        assert (started.returncode, "not ready" in started.stdout) == (1, True)
        assert "did you mean 'route'?" in started.stderr
        silent = mesh.call("logs", "quiet", "-c", "istio-proxy")
        assert (silent.stdout, "no access log is configured" in silent.stderr) == ("", True)
    finally:
        mesh.call("down")


def test_an_empty_mesh_is_filled(tmp_path: Path) -> None:
    environment = {**os.environ, "PILOTFISH_STATE": str(tmp_path / "state"), "NO_COLOR": "1"}
    mesh = Mesh(f"e2e-empty-{os.getpid()}", tmp_path / "state", tmp_path, environment)
    folder = tmp_path / "empty"
    folder.mkdir()
    try:
        assert "0 of 0 pods" in mesh.call("up", folder, "-d").stdout
        (folder / "quiet.yaml").write_text(WRONG.partition("---\n")[2])
        assert output(mesh, "wait", "--for=create", "pod/quiet") == "pod/quiet created\n"
        assert "condition met" in output(mesh, "wait", "--for=condition=Ready", "pod/quiet")
    finally:
        mesh.call("down")


BASE = {
    "kustomization.yaml": "resources: [pod.yaml]\n",
    "pod.yaml": WRONG.partition("---\n")[2],
}
OVERLAY = "resources: [../base]\nnamePrefix: very-\ncommonAnnotations: {note: one}\n"


@pytest.mark.skipif(not (which("kustomize") or which("kubectl")), reason="what builds kustomizations is not there")
def test_a_kustomization_is_built_and_followed(tmp_path: Path) -> None:
    environment = {**os.environ, "PILOTFISH_STATE": str(tmp_path / "state"), "NO_COLOR": "1"}
    mesh = Mesh(f"e2e-kustomize-{os.getpid()}", tmp_path / "state", tmp_path, environment)
    for folder in ("base", "overlay"):
        (tmp_path / folder).mkdir()
    for name, text in BASE.items():
        (tmp_path / "base" / name).write_text(text)
    (tmp_path / "overlay" / "kustomization.yaml").write_text(OVERLAY)
    try:
        assert "overlay/kustomization.yaml: what" in mesh.call("up", "-k", tmp_path / "overlay", "-d").stdout
        mesh.write("overlay/kustomization.yaml", OVERLAY.replace("one", "two"))
        note = "--for=jsonpath={.metadata.annotations.note}=two"
        wait_until("it is built again", lambda: mesh.call("wait", note, "pod/very-quiet", check=False).returncode == 0)
        mesh.write("base/pod.yaml", BASE["pod.yaml"].replace("quiet", "calm"))
        assert output(mesh, "wait", "--for=create", "pod/very-calm") == "pod/very-calm created\n"
        mesh.write("overlay/kustomization.yaml", "nonsense: true\n" + OVERLAY)
        wait_until("the failure is told", lambda: "Unbuildable" in str(mesh.status["problems"]))
        assert "very-calm" in output(mesh, "get", "pods")
        deleted = mesh.call("delete", "-k", tmp_path / "base", check=False)
        assert 'pod "calm" not found' in deleted.stderr
    finally:
        mesh.call("down")
