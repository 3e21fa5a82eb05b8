"""What the tests of this folder share."""

import gc
import threading
from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest

from pilotfish.runtime.net.leftovers import sweep
from pilotfish.runtime.net.network import MeshNetwork
from tests.runtime.network_world import MESH

_QUEUE = "_poll_wrapper"
"""In the name of the thread of gRPC's queue."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, Any, Any]:
    """A test's gRPC ends with it. There is one queue for all event loops of a process, which is there as long as any
    object of gRPC's is; these stand in cycles, and what was left for a loop that is closed would be logged in another
    test's."""
    found = yield
    if any(_QUEUE in thread.name for thread in threading.enumerate()):
        gc.collect()
    return found


@pytest.fixture
async def network() -> AsyncIterator[MeshNetwork]:
    made = await MeshNetwork.create(MESH)
    yield made
    await sweep(MESH)
