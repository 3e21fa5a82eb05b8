"""Fixtures of the tests that need a cluster, or its API server alone."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from xdist import get_xdist_worker_id, is_xdist_worker

from tests.cluster import programs
from tests.cluster.api_server import ApiServer, OwnApiServer, own_api_server, shared_api_server
from tests.cluster.kubectl import Kubectl
from tests.cluster.node import Node, running_node
from tests.cluster.programs import Build, Missing

_HERE = Path(__file__).parent
_BEGAN = time.monotonic()
_PATIENCE = 510
"""Until which second of a test run its tests of an API server wait for the compiler: all of it, with the set-up of a
new machine, is to end within twelve minutes."""
_COMPILER = pytest.StashKey[Build]()
_NUMBERS = itertools.count()

MakeApiServer = Callable[..., AbstractContextManager[OwnApiServer]]


def pytest_collection_finish(session: pytest.Session) -> None:
    """What has to be compiled, the first worker has compiled from now on, beside the other tests."""
    is_first = not is_xdist_worker(session) or get_xdist_worker_id(session) == "gw0"
    if is_first and not session.config.option.collectonly and any(map(_needs_control, session.items)):
        _compile(session.config)


def pytest_unconfigure(config: pytest.Config) -> None:
    if compiler := config.stash.get(_COMPILER, None):
        compiler.stop()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """A test's time limit does not count while it waits for the compiler."""
    if _needs_control(item):
        _compile(item.config)
        if compiler := item.config.stash.get(_COMPILER, None):
            compiler.wait(_BEGAN + _PATIENCE)
    return (yield)


def _needs_control(item: pytest.Item) -> bool:
    names = getattr(item, "fixturenames", ())
    return item.path.is_relative_to(_HERE) and ("api_server" in names or "make_api_server" in names)


def _compile(config: pytest.Config) -> None:
    """Each worker has a compiler of its own, of which the first to come does the work, and the others wait for it."""
    if not programs.has_control() and _COMPILER not in config.stash:
        config.stash[_COMPILER] = Build()


@pytest.fixture(scope="session")
def _control(pytestconfig: pytest.Config) -> None:
    compiler = pytestconfig.stash.get(_COMPILER, None)
    try:
        programs.control(build=False)
    except Missing as missing:
        pytest.skip((compiler and compiler.why_not()) or str(missing))


@pytest.fixture(scope="session")
def api_server(_control: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """The API server that all tests of a run share. What a test makes outside of a Namespace of its own (`kubectl`),
    others see; it takes it away again."""
    run = tmp_path_factory.getbasetemp()
    meeting = (run.parent if "PYTEST_XDIST_WORKER" in os.environ else run) / "api-server"
    meeting.mkdir(exist_ok=True)
    with shared_api_server(meeting) as server:
        yield server


@pytest.fixture
def make_api_server(_control: None) -> MakeApiServer:
    """For one of the test's own, to be struck, or to be empty. It takes three seconds."""
    return own_api_server


@pytest.fixture
def kubectl(api_server: ApiServer) -> Iterator[Kubectl]:
    """kubectl in a Namespace of the test's own, which has its default account."""
    with own_namespace(api_server.kubectl) as kubectl:
        yield kubectl


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """The cluster of one node that all tests of a run share; see `pytest.mark.long`."""
    with ExitStack() as stack:
        try:
            running = stack.enter_context(running_node())
        except Missing as missing:
            pytest.skip(str(missing))
        yield running


@pytest.fixture
def pods(node: Node) -> Iterator[Kubectl]:
    """kubectl in a Namespace of the test's own, whose pods run."""
    with own_namespace(node.kubectl) as kubectl:
        yield kubectl


@contextmanager
def own_namespace(kubectl: Kubectl, **labels: str) -> Iterator[Kubectl]:
    name = f"t{os.getpid()}-{next(_NUMBERS)}"
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    try:
        kubectl.within(name).wait("create", "serviceaccount/default")
        yield kubectl.within(name)
    finally:
        kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
