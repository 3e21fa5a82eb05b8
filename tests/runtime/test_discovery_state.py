"""The file of what outlives a restart: written, read, broken, in the way."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pilotfish.config import load
from pilotfish.discovery import memory
from pilotfish.discovery.memory import Remembered
from pilotfish.discovery.rejection import Rejection
from pilotfish.envoy.types import ROUTE
from pilotfish.runtime.discovery.state import StateFile
from pilotfish.runtime.errors import MachineError
from tests.manifests import service, virtual_service
from tests.runtime.discovery_client import Client, connected, discovery, get


def one(name: str = "one") -> Remembered:
    text = (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: vm}}\nspec: {{ports: [{{port: 80}}]}}\n"
    )
    (made,) = load(text, "mesh.yaml").manifests
    return Remembered(made.ref, Rejection(ROUTE, "80", "no", frozenset({"web-0"})), made, None)


async def test_the_latest_is_kept_for_root_alone(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "state"
    file = StateFile(directory)
    file.prepare()
    assert file.read() == ()
    for number in range(20):
        file.keep((one(f"n{number}"),))
    await file.close()
    assert StateFile(directory).read() == (one("n19"),)
    assert [path.name for path in directory.iterdir()] == ["last-good.json"]
    assert (directory / "last-good.json").stat().st_mode & 0o777 == 0o600


async def test_without_a_directory_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = StateFile(None)
    file.prepare()
    file.keep((one(),))
    await file.close()
    assert file.read() == ()
    assert list(tmp_path.iterdir()) == []


def broken(path: Path) -> None:
    path.write_bytes(b'{"madeBy": "0.1.0", "obj')


def too_large(path: Path) -> None:
    path.touch()
    os.truncate(path, memory.LARGEST + 1)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [broken, too_large, a_pipe, a_directory])
async def test_a_file_that_is_none_is_ignored_and_said(
    make: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path / "last-good.json")
    file = StateFile(tmp_path)
    assert file.read() == ()
    assert [(record.levelname, "last-good.json is ignored" in record.message) for record in caplog.records] == [
        ("WARNING", True)
    ]


async def test_what_can_not_be_written_is_said_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "last-good.json.new").mkdir()
    file = StateFile(tmp_path)
    with caplog.at_level(logging.WARNING):
        file.keep((one(),))
        await file.close()
    assert "can't be written" in caplog.text
    (tmp_path / "last-good.json.new").rmdir()
    file.keep((one(),))
    await file.close()
    assert file.read() == (one(),)


async def test_a_directory_that_can_not_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match=r"--state .* can't be made"):
        StateFile(tmp_path / "file" / "state").prepare()


MESH = service("one", "10.96.0.10") + virtual_service("one", "{prefix: /PATH}")


async def test_a_proxy_that_comes_after_a_restart_gets_the_last_good_form(tmp_path: Path) -> None:
    manifests, state = tmp_path / "mesh.yaml", tmp_path / "state"
    manifests.write_text(MESH)
    async with discovery(manifests, state=state) as made, connected(made.xds, Client(refuses=b"/poison")) as proxy:
        await proxy.until("there is a route", lambda: b"/PATH" in proxy.route())
        await made.driver.moved.wait_for(lambda: made.plane.is_settled, 5)
        manifests.write_text(MESH.replace("PATH", "poison"))
        await made.driver.moved.wait_for(lambda: bool(made.plane.quarantine.rejected), 5)
    async with discovery(manifests, state=state) as made, connected(made.xds, Client(refuses=b"/poison")) as proxy:
        await proxy.until("there is a route", lambda: b"/PATH" in proxy.route())
        assert (await get(made, "/api/problems"))[1][0]["reason"] == "RefusedByEnvoy"
    (state / "last-good.json").write_text("{")
    async with discovery(manifests, state=state) as made, connected(made.xds, Client(refuses=b"/poison")) as proxy:
        await proxy.until("there is a route", lambda: bool(proxy.route()))
        assert b"/PATH" not in proxy.route(), "that form is forgotten"
