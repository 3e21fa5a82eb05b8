"""The command as a whole: its start, its help, its errors."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import msgspec
import pytest

from pilotfish.cli.app import ALIASES, COMMANDS
from pilotfish.cli.failure import expected
from pilotfish.cli.foreign import FOREIGN
from pilotfish.runtime.control.client import Unreachable
from tests.cli.conftest import Invoke
from tests.cli.fakes import FakeMesh, mesh_view, pod

MESHLESS = {"completion", "xds", "validate", "image", "inject", "manifest"}
"""Those that ask no mesh."""
IN_A_CLUSTER = {"install", "upgrade", "uninstall", "tag", "check"}
"""Those of which a machine has nothing."""
OTHERS = {"discovery", "agent", "agent-request", "capture", "cni"}
"""Those whose start-up may be heavy: they run for long."""


def run_fresh(code: str) -> str:
    """What a new interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True).stdout


def test_help_names_every_command_in_the_order_of_use(invoke: Invoke) -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    lines = result.stdout.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "] == list(COMMANDS)


def test_help_imports_no_command() -> None:
    loaded = run_fresh(
        "import sys\n"
        "from pilotfish.cli.app import pilotfish\n"
        "pilotfish.main(['--help'], standalone_mode=False)\n"
        "print('LOADED', *sorted(m for m in sys.modules if m.startswith('pilotfish')))"
    )
    assert loaded.splitlines()[-1].split()[1:] == [
        "pilotfish", "pilotfish.cli", "pilotfish.cli.app", "pilotfish.cli.failure", "pilotfish.cli.meant"
    ]  # fmt: skip


EVERYDAY = (
    "get", "describe", "wait", "status", "logs", "exec_", "cp", "top", "apply", "delete", "label", "patch", "edit",
    "set_", "rollout", "complete", "proxy_config", "proxy_status",
    "proxy_restart"
)  # fmt: skip


@pytest.mark.parametrize("module", EVERYDAY)
def test_everyday_commands_import_nothing_heavy(module: str) -> None:
    loaded = run_fresh(f"import sys\nimport pilotfish.cli.{module}\nprint(*sys.modules)").split()
    assert not {"grpc", "google.protobuf", "aiohttp", "rich", "watchfiles", "asyncio", "yaml"} & set(loaded)


@pytest.mark.parametrize("name", [*sorted(set(COMMANDS) - OTHERS), *ALIASES])
def test_every_command_has_help(invoke: Invoke, name: str) -> None:
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: pilotfish {name} ")


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - OTHERS))
def test_every_command_about_a_mesh_takes_its_name(name: str) -> None:
    command: click.Command = import_module(f"pilotfish.cli.{COMMANDS[name][0]}").command
    leaves = list(command.commands.values()) if isinstance(command, click.Group) else [command]
    options = {option for leaf in (command, *leaves) for param in leaf.params for option in param.opts}
    assert ("--name" in options) is (name not in MESHLESS | IN_A_CLUSTER)
    assert ("--context" in options) is (name not in MESHLESS | {"up"})


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["gte", "pods"], "; use 'pilotfish get'"),
        (["compose", "ps"], "; use 'pilotfish get pods'"),
        (["compose", "-f", "x", "ps"], "; use 'pilotfish up FILE'"),
        (["create", "cluster"], "; use 'pilotfish up FILE'"),
        (["precheck"], "; use 'pilotfish check --pre'"),
        (["xyzzy"], ""),
    ],
)
def test_an_unknown_command_is_a_usage_error_that_names_ours(invoke: Invoke, words: list[str], hint: str) -> None:
    result = invoke(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"error: no such command '{words[0]}'{hint}; see 'pilotfish --help'\n"


def test_what_is_typed_elsewhere_is_no_command_of_ours_and_leads_to_one() -> None:
    assert not [words for words in FOREIGN if words in COMMANDS]
    ours = {*COMMANDS, *ALIASES, "--help"}
    assert not [told for told in FOREIGN.values() if told.split()[0].strip("'") not in ours]


def test_the_script_answers_on_its_own() -> None:
    script = Path(sys.executable).parent / "pilotfish"
    done = subprocess.run([script, "version"], text=True, capture_output=True, check=True)
    assert "pilotfish version: 0." in done.stdout
    assert "envoy version: 1.40" in done.stdout


def test_no_mesh(state: Path, invoke: Invoke) -> None:
    for command in (["status"], ["get", "pods"], ["logs", "x"], ["scale", "deploy/x", "--replicas", "1"]):
        result = invoke(*command)
        assert result.exit_code == 1
        assert result.stderr == "error: no mesh is running; start one with 'pilotfish up FILE'\n"


def test_a_dead_mesh_is_called_so(mesh: FakeMesh, invoke: Invoke) -> None:
    (mesh.directory / "mesh.json").write_bytes(
        msgspec.json.encode(mesh_view("demo", mesh.directory, pid_started=1))  # another process has the number now
    )
    result = invoke("status", "--name", "demo")
    assert result.exit_code == 1
    assert 'mesh "demo" is dead' in result.stderr
    assert "'pilotfish down --name demo' removes what it left" in result.stderr
    assert invoke("status").stderr == (
        "error: no mesh is running; 'pilotfish down' removes what is left of dead ones (demo)\n"
    )


def test_several_meshes_need_a_name(mesh: FakeMesh, state: Path, invoke: Invoke) -> None:
    other = FakeMesh(state, "other")
    try:
        result = invoke("get", "pods")
        assert (result.exit_code, result.stderr) == (
            1, "error: 2 meshes are running (demo, other); say which one with --name\n"
        )  # fmt: skip
        other.set(pods=())
        assert invoke("get", "pods", "--name", "demo").stdout.count("\n") == 3
        assert invoke("--name", "other", "get", "pods").stderr == "No resources found.\n"
        assert invoke("--name", "other", "get", "pods", "--name", "demo").stdout.count("\n") == 3
        assert 'no mesh named "third" is running; running: demo, other' in invoke("status", "--name", "third").stderr
    finally:
        other.close()


def test_a_mesh_that_does_not_answer(mesh: FakeMesh, invoke: Invoke) -> None:
    (mesh.directory / "control.sock").unlink()
    result = invoke("status")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: mesh in {mesh.directory} does not answer: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "command",
    [
        ["up", "x.yaml"],
        ["down"],
        ["exec", "webapp-0", "--", "true"],
        ["pc", "all", "webapp-0"],
        ["top", "pods"],
        ["cp", "webapp-0:/x", "y"],
        ["pc", "log", "webapp-0"],
    ],
)
def test_what_needs_root_says_so(mesh: FakeMesh, as_user: None, invoke: Invoke, command: list[str]) -> None:
    result = invoke(*command)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: this needs root, because ")
    assert result.stderr.endswith(": run it with sudo\n")


def test_a_socket_that_is_roots_needs_root() -> None:
    error = Unreachable("mesh in /run/x does not answer: permission denied")
    error.__cause__ = PermissionError(13, "permission denied")
    failure = expected(error)
    assert failure is not None
    assert failure.message == "this needs root, because a mesh answers only to root: run it with sudo"


def test_a_bug_is_no_failure() -> None:
    assert expected(KeyError("x")) is None


def test_a_reader_that_goes_away_is_no_bug(mesh: FakeMesh) -> None:
    """As in `pilotfish get pods | head -0`."""
    mesh.set(pods=tuple(pod(f"p{n}") for n in range(2000)))
    script = Path(sys.executable).parent / "pilotfish"
    with subprocess.Popen([str(script), "get", "pods"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
