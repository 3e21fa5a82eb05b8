"""Fixtures of the command line's tests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pilotfish.cli.app import pilotfish
from tests.cli.fakes import NOW, FakeMesh

Invoke = Callable[..., Result]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for meshes, which the commands look into."""
    root = tmp_path / "state"
    root.mkdir()
    monkeypatch.setenv("PILOTFISH_STATE", str(root))
    monkeypatch.chdir(tmp_path)
    return root


@pytest.fixture
def mesh(state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeMesh]:
    """One running mesh, and the time at which its views were made."""
    monkeypatch.setattr("time.time", lambda: NOW)
    fake = FakeMesh(state)
    yield fake
    fake.close()


@pytest.fixture
def invoke() -> Invoke:
    """Runs the command line in this process."""

    def run(*arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(pilotfish, arguments, input=stdin, prog_name="pilotfish")

    return run


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who is not root."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
