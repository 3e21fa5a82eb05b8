"""Fixtures of the end-to-end tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.alone import Started
from tests.e2e.harness import MakeMesh, running_mesh


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.skip("end-to-end tests make network namespaces, which takes root")


@pytest.fixture(scope="session")
def make_mesh() -> MakeMesh:
    return running_mesh


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    started = Started(tmp_path)
    yield started
    started.stop()
