"""The program that a container runtime starts: compiled, run as it runs it, with a process that answers and without."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pilotfish.cni.request import Answer, Code, Request, fail, succeed
from pilotfish.runtime.cni.server import PluginServer
from pilotfish.runtime.errors import MachineError

SOURCE = Path(__file__).parents[2] / "image" / "cni.c"
BEFORE = {"cniVersion": "1.0.0", "ips": [{"address": "10.244.0.7/24"}], "dns": {}}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cni") / "pilotfish-cni"
    flags = ("-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    subprocess.run(["gcc", *flags, "-o", path, SOURCE], check=True)
    return path


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    return {
        "cniVersion": "1.0.0",
        "name": 'a "net", with } and \\ in it',
        "socket": str(tmp_path / "cni.sock"),
        "excludeNamespaces": ["kube-system", "istio-system"],
        "prevResult": BEFORE,
    }


def run(program: Path, command: str | None, config: object, namespace: str = "vm") -> subprocess.CompletedProcess[str]:
    text = config if isinstance(config, str) else json.dumps(config)
    env = {} if command is None else {"CNI_COMMAND": command, "CNI_CONTAINERID": "c", "CNI_NETNS": "/n"}
    # Its memory is the process's, which ends.
    env |= {"ASAN_OPTIONS": "detect_leaks=0"}
    env |= {"CNI_ARGS": f"IgnoreUnknown=1;K8S_POD_NAMESPACE={namespace};K8S_POD_NAME=web-0"}
    return subprocess.run([program], input=text, env=env, capture_output=True, text=True, timeout=20, check=False)


async def answered(
    program: Path, config: dict[str, Any], handle: Callable[[Request], Awaitable[Answer]], command: str = "ADD"
) -> subprocess.CompletedProcess[str]:
    server = PluginServer(handle)
    await server.start(Path(config["socket"]))
    try:
        return await asyncio.to_thread(run, program, command, config)
    finally:
        await server.close()


async def test_what_it_is_asked_arrives_and_what_is_answered_is_printed(program: Path, config: dict[str, Any]) -> None:
    asked: list[Request] = []

    async def handle(request: Request) -> Answer:
        asked.append(request)
        return succeed(request)

    config["padding"] = "x" * 300_000
    done = await answered(program, config, handle)
    assert (done.returncode, json.loads(done.stdout)) == (0, BEFORE)
    (request,) = asked
    assert (request.command, request.netns, request.namespace, request.pod) == ("ADD", "/n", "vm", "web-0")
    assert request.config == config


async def test_a_refusal_is_its_exit_code_and_its_words(program: Path, config: dict[str, Any]) -> None:
    async def handle(request: Request) -> Answer:
        return fail(request.version, Code.INVALID_CONFIG, "no", "why")

    done = await answered(program, config, handle)
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"cniVersion": "1.0.0", "code": 7, "msg": "no", "details": "why"}


@pytest.mark.parametrize("error", [MachineError("iptables-restore is missing", "install it"), RuntimeError("a bug")])
async def test_whatever_goes_wrong_there_is_told(program: Path, config: dict[str, Any], error: Exception) -> None:
    async def handle(request: Request) -> Answer:
        raise error

    done = await answered(program, config, handle)
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["code"] == 999
    assert str(error.args[0]) in said["msg"]


def test_where_nobody_answers_a_pod_is_not_added_and_the_runtime_is_to_come_again(
    program: Path, config: dict[str, Any]
) -> None:
    done = run(program, "ADD", config)
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert (said["code"], said["cniVersion"]) == (11, "1.0.0")
    assert "DaemonSet pilotfish-cni on this node does not answer" in said["msg"]
    assert said["details"] == f"{config['socket']}: No such file or directory"
    assert run(program, "CHECK", config).returncode == 1


def test_what_a_node_needs_first_starts_all_the_same(program: Path, config: dict[str, Any]) -> None:
    done = run(program, "ADD", config, namespace="istio-system")
    assert (done.returncode, json.loads(done.stdout)) == (0, BEFORE)
    for close in ("istio-syste", "istio-system2", ""):
        assert run(program, "ADD", config, namespace=close).returncode == 1


@pytest.mark.parametrize("command", ["DEL", "GC"])
def test_what_ends_is_not_held_up(program: Path, config: dict[str, Any], command: str) -> None:
    done = run(program, command, config)
    assert (done.returncode, done.stdout) == (0, "")


def test_its_versions(program: Path) -> None:
    done = run(program, "VERSION", "{}")
    assert done.returncode == 0
    assert "1.0.0" in json.loads(done.stdout)["supportedVersions"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"socket"', '{"socket":', '{"socket": 7}', '{"a": "\\', '{"so": "x"}']
)
def test_a_configuration_without_a_socket(program: Path, text: str) -> None:
    done = run(program, "ADD", text)
    assert done.returncode == 1
    assert json.loads(done.stdout)["code"] in (7, 11)
    assert done.stderr == ""


def test_by_hand_it_says_what_it_is(program: Path) -> None:
    done = run(program, None, "{}")
    assert done.returncode == 2
    assert "a container runtime starts it" in done.stderr
