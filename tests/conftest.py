"""What tests of every folder share."""

import itertools
import os
import select
import signal
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist import is_xdist_worker

from pilotfish.runtime.linux.netns import NetNs
from tests.parallel import Room, Scheduling, encodable, workers
from tests.watcher import watch_this_process

# How long an example takes says more of the machine than of the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
# gRPC begins its threads anew, from the thread that forks, wherever that is: in the namespace of a pod, they call from
# there for the rest of this process.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
_STOP_WATCHER = pytest.StashKey[Callable[[], None]]()
CONFORMANCE = Path(__file__).parents[2] / "shared" / "data"
_NUMBERS = itertools.count()
_ROOM = pytest.StashKey[Room]()


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "rewrite the expected output of every case in tests/golden and tests/inject/pods from what is made now"
    parser.addoption("--update-golden", action="store_true", help=text)


def pytest_configure(config: pytest.Config) -> None:
    if os.geteuid() == 0:  # nobody else leaves namespaces
        config.stash[_STOP_WATCHER] = watch_this_process()


def pytest_unconfigure(config: pytest.Config) -> None:
    if stop := config.stash.get(_STOP_WATCHER, None):
        stop()


def pytest_xdist_auto_num_workers() -> int:
    return workers()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling:
    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    return encodable((yield))


def pytest_sessionstart(session: pytest.Session) -> None:
    if is_xdist_worker(session):
        shared = session.config._tmp_path_factory.getbasetemp().parent  # type: ignore[attr-defined]
        session.config.stash[_ROOM] = Room(shared)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, Any, Any]:
    """The outermost: a test's time limit does not count while it waits for room."""
    room = item.config.stash.get(_ROOM, None)
    with room.entered(item, nextitem) if room is not None else nullcontext():
        return (yield)


@pytest.fixture(scope="session")
def conformance() -> Path:
    """The folder of public conformance data. A user's clone has none: such tests are skipped there."""
    if not CONFORMANCE.is_dir():
        pytest.skip("the conformance data is not beside this checkout")
    return CONFORMANCE


@pytest.fixture
def netns() -> Iterator[NetNs]:
    """A network namespace of the test's own, with a loopback; skipped without root. No process may be left in it."""
    with _own_namespace() as namespace:
        yield namespace


@pytest.fixture
def other_netns() -> Iterator[NetNs]:
    """One more."""
    with _own_namespace() as namespace:
        yield namespace


@pytest.fixture
def owned_netns() -> Iterator[NetNs]:
    """One that a user namespace owns, as those of pods that share a proxy."""
    with _own_namespace(NetNs.create_with_owner) as namespace:
        yield namespace


@contextmanager
def _own_namespace(create: Callable[[str], NetNs] = NetNs.create) -> Iterator[NetNs]:
    if os.geteuid() != 0:
        pytest.skip("network namespaces take root")
    namespace = create(f"pftest-{os.getpid()}-{next(_NUMBERS)}")
    yield namespace
    left = [pid for pid in (namespace.pids() if namespace.exists() else ()) if not _ends(pid)]
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    namespace.delete()
    assert left == [], "a process was left in the namespace"


def _ends(pid: int) -> bool:
    """Whether a process ends by itself: one that was told to takes a moment."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 2)[0])
    finally:
        os.close(descriptor)
