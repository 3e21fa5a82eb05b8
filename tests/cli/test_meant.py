"""Which mesh is meant: one on this machine or one in a cluster, and that nobody settles it in silence."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from pilotfish.cli.foreign import in_a_cluster
from tests.cli.conftest import Invoke
from tests.cli.fakes import FakeMesh

CLUSTER = "https://127.0.0.1:1"
"""Where nobody answers: what a command says of it shows that it asked there."""


@pytest.fixture(autouse=True)
def kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the contexts `prod` and `test`, the current one."""
    path = tmp_path / "kubeconfig"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "one", "cluster": {"server": CLUSTER}}],
        "users": [{"name": "ann", "user": {"token": "secret"}}],
        "contexts": [
            {"name": name, "context": {"cluster": "one", "user": "ann", "namespace": name}} for name in ("prod", "test")
        ],
    }
    path.write_text(json.dumps(document))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.delenv("PILOTFISH_CONTEXT", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    return path


def test_the_mesh_that_runs_on_this_machine_goes_before_a_cluster(invoke: Invoke, mesh: FakeMesh) -> None:
    result = invoke("proxy-status")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "webapp-0.vm" in result.stdout


@pytest.mark.usefixtures("mesh")
@pytest.mark.parametrize(
    "arguments",
    [
        ("--context", "prod", "proxy-status"),
        ("proxy-status", "--context", "prod"),
        ("--context", "test", "proxy-status", "--context", "prod"),
    ],
)
def test_a_context_is_asked_wherever_it_stands(invoke: Invoke, arguments: tuple[str, ...]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: the API server {CLUSTER} of context prod of ")


@pytest.mark.usefixtures("mesh")
def test_the_environment_names_a_context_and_a_name_on_the_command_line_goes_before_it(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PILOTFISH_CONTEXT", "prod")
    assert "context prod of" in invoke("status").stderr
    assert invoke("status", "--name", "demo").exit_code == 0


def test_where_nothing_runs_the_current_context_is_asked_and_that_is_said(
    invoke: Invoke, state: Path, kubeconfig: Path
) -> None:
    said, error = invoke("status").stderr.splitlines()
    assert said == f"no mesh runs on this machine: this is the cluster of context test of {kubeconfig}"
    assert error.startswith("error: ")


def test_a_mesh_that_has_died_is_told_of_before_a_cluster_is_asked(
    invoke: Invoke, mesh: FakeMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = msgspec.structs.replace(mesh.view, pid_started=1)
    (mesh.directory / "mesh.json").write_bytes(msgspec.json.encode(dead))
    remedy = "'pilotfish down' removes what is left of dead ones (demo)"
    assert invoke("status").stderr == f"error: no mesh is running; {remedy}; --context asks a cluster\n"
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    assert invoke("status").stderr == f"error: no mesh is running; {remedy}\n"


@pytest.mark.usefixtures("mesh")
def test_a_name_and_a_context_at_once_are_refused(invoke: Invoke) -> None:
    result = invoke("--name", "demo", "status", "--context", "prod")
    assert (result.exit_code, "give one of them" in result.stderr) == (2, True)


@pytest.mark.usefixtures("state")
def test_an_unknown_context_is_told_with_those_that_there_are(invoke: Invoke) -> None:
    assert "there is no context dev; there is context prod or test" in invoke("status", "--context", "dev").stderr


@pytest.mark.usefixtures("state")
@pytest.mark.parametrize(
    ("typed", "instead"),
    [
        (("get", "pods", "-n", "vm", "-o", "yaml"), "kubectl --context prod get pods -n vm -o yaml"),
        (("apply", "-f", "a b.yaml"), "kubectl --context prod apply -f 'a b.yaml'"),
        (("exec", "web-0", "--", "ls", "--context", "x"), "kubectl --context prod exec web-0 -- ls --context x"),
        (("scale", "deploy/web", "--replicas", "2"), "kubectl --context prod scale deploy/web --replicas 2"),
        (("up", "mesh.yaml"), "pilotfish install' and 'kubectl apply -f FILE"),
        (("down",), "pilotfish uninstall"),
    ],
)
def test_what_is_kubectl_s_in_a_cluster_is_told_as_it_has_to_be_typed(
    invoke: Invoke, typed: tuple[str, ...], instead: str
) -> None:
    result = invoke("--context", "prod", *typed)
    assert (result.exit_code, result.stderr) == (
        1, f"error: in the cluster of context prod this is '{instead}'\n"
    )  # fmt: skip


@pytest.mark.usefixtures("state")
def test_what_nobody_does_there_from_outside_is_told_with_the_reason(invoke: Invoke) -> None:
    told = "error: in the cluster of context prod this is not to be done from outside: a certificate is issued to a pod"
    assert invoke("identity", "issue", "vm/batch", "-d", "x", "--context", "prod").stderr.startswith(told)


@pytest.mark.usefixtures("state")
def test_where_nothing_runs_it_is_told_for_the_current_context(invoke: Invoke) -> None:
    told = "error: no mesh runs on this machine, and in the cluster this is 'kubectl get pods'\n"
    assert invoke("get", "pods").stderr == told


def test_options_of_ours_are_left_out_of_what_is_to_be_typed() -> None:
    words = ("get", "pods", "--name", "demo", "--revision=canary", "--context", "other", "-w")
    assert in_a_cluster(words, (("--context", "prod"), ("--kubeconfig", ""))) == "kubectl --context prod get pods -w"


@pytest.mark.usefixtures("state")
def test_commands_that_are_a_cluster_s_alone_hear_it_as_well(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in (("--context", "dev", "check"), ("check", "--context", "dev")):
        assert "there is no context dev" in invoke(*arguments).stderr
    monkeypatch.setenv("PILOTFISH_CONTEXT", "dev")
    assert "there is no context dev" in invoke("check").stderr
    assert invoke("--name", "demo", "check").exit_code == 2


@pytest.mark.filterwarnings("error")
def test_no_option_of_a_command_means_a_mesh_by_accident(invoke: Invoke, mesh: FakeMesh) -> None:
    """`rollout history --revision` is a ReplicaSet's."""
    result = invoke("rollout", "history", "deploy/calculator-v1", "-n", "vm", "--revision", "1")
    assert "cluster" not in result.stderr
    assert any(path == "/objects" for path, _ in mesh.asked)


@pytest.mark.usefixtures("state")
def test_contexts_are_completed(invoke: Invoke) -> None:
    from tests.cli.test_completion import complete

    assert complete("pilotfish proxy-status --context ") == ["prod", "test"]
