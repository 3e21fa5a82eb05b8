"""Shell completion, as a shell asks for it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from pilotfish.cli.app import pilotfish
from tests.cli.conftest import Invoke
from tests.cli.fakes import FakeMesh

PILOTFISH = Path(sys.executable).parent / "pilotfish"


def complete(line: str) -> list[str]:
    """What bash is offered for the last word of `line`."""
    words = line.split(" ")
    environment = {
        "_PILOTFISH_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    result = CliRunner().invoke(pilotfish, [], env=environment, prog_name="pilotfish")
    assert result.stderr == ""
    return [each.partition(",")[2] for each in result.stdout.splitlines() if each]


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("pilotfish sta", ["status"]),
        ("pilotfish get po", ["pods"]),
        ("pilotfish get pods we", ["webapp-0"]),
        ("pilotfish get proxies we", ["webapp-0.vm"]),
        ("pilotfish get vs ", ["calculator"]),
        ("pilotfish get meshes ", ["demo"]),
        ("pilotfish logs ", ["calculator-v1-6f-x2x", "lonely.other", "webapp-0"]),
        ("pilotfish logs lo", ["lonely.other"]),
        ("pilotfish exec deploy/", ["deploy/calculator-v1"]),
        ("pilotfish exec webapp-0 -c ", ["app", "istio-proxy"]),
        ("pilotfish logs -n other l", ["lonely"]),
        ("pilotfish status --name ", ["demo"]),
        ("pilotfish get pods -n ", ["other", "vm"]),
        ("pilotfish scale ", ["deploy/calc"]),
        ("pilotfish proxy-config rou", ["routes"]),
        ("pilotfish proxy-config routes we", ["webapp-0"]),
        ("pilotfish rollout st", ["status"]),
        ("pilotfish completion z", ["zsh"]),
        ("pilotfish desc", ["describe"]),
        ("pilotfish describe vs/", ["vs/calculator"]),
        ("pilotfish label pods we", ["webapp-0"]),
        ("pilotfish wait --for cond", ["condition=Available", "condition=Ready"]),
        ("pilotfish get pods -o cust", ["custom-columns=", "custom-columns-file="]),
        ("pilotfish logs svc/w", ["svc/webapp"]),
        ("pilotfish rollout un", ["undo"]),
        ("pilotfish rollout undo ", ["deploy/calc"]),
    ],
)
def test_names_come_from_the_running_mesh(mesh: FakeMesh, line: str, names: list[str]) -> None:
    mesh.objects = [
        {"kind": "Deployment", "metadata": {"name": "calc", "namespace": "vm"}},
        {"kind": "VirtualService", "metadata": {"name": "calculator", "namespace": "vm"}},
    ]
    assert complete(line) == names


def test_nothing_is_said_without_a_mesh(state: Path) -> None:
    assert complete("pilotfish logs ") == []
    assert complete("pilotfish get pods ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts(invoke: Invoke, shell: str) -> None:
    script = invoke("completion", shell).stdout
    assert f"_PILOTFISH_COMPLETE={shell}_complete" in script


def test_bash_takes_the_script(mesh: FakeMesh) -> None:
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    asking = (
        f"PATH={PILOTFISH.parent}:$PATH; source <(pilotfish completion bash); "
        "COMP_WORDS=(pilotfish logs we); COMP_CWORD=2; _pilotfish_completion pilotfish; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(["bash", "-c", asking], text=True, capture_output=True, check=True)
    assert done.stdout == "webapp-0\n"
    assert done.stderr == ""


def test_proxies_of_the_manifests_that_were_named(state: Path) -> None:
    calculator = Path(__file__).parents[2] / "examples" / "calculator" / "mesh.yaml"
    assert complete(f"pilotfish xds render {calculator} --proxy webapp") == ["webapp-0.vm"]
    assert complete(f"pilotfish xds render {calculator} -n vm --proxy calculator-v1")[0] == "calculator-v1"
