"""Fixtures of the end-to-end tests."""

import os

import pytest

from tests.e2e.harness import MakeMesh, running_mesh


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    if os.geteuid() != 0:
        pytest.skip("end-to-end tests make network namespaces, which takes root")


@pytest.fixture(scope="session")
def make_mesh() -> MakeMesh:
    return running_mesh
