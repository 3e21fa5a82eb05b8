"""Fixtures of the end-to-end tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.alone import Started
from tests.e2e.harness import PROXY, MakeMesh, running_mesh


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if PROXY == "node":
        for item in items:
            if item.get_closest_marker("sidecars"):
                item.add_marker(pytest.mark.skip(reason="it is about Envoys of pods' own"))


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
