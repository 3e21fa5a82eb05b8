"""Removes what a test run leaves behind that is killed outright (SIGKILL, out of memory).

    pytest ──pipe──▶ watcher, in a session of its own: a last word, and it ends; none, and it cleans up

What is the run's is known by three marks: an environment that its processes inherit; the run's process id in the names
of network namespaces and meshes; and in those of folders under /tmp. A mesh that somebody runs keeps its lock.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

REPOSITORY = Path(__file__).parents[1]
_MARK = "PILOTFISH_TEST_RUN"


def watch_this_process() -> Callable[[], None]:
    """Returns what is to be called at an orderly end."""
    reading, writing = os.pipe()
    environment = {name: value for name, value in os.environ.items() if name != _MARK}
    mark = os.environ[_MARK] = f"{os.getpid()}-{uuid4().hex}"
    # Forked once more, so that it is no child of ours: there are tests of which children there are.
    subprocess.run(
        ["setsid", "--fork", sys.executable, "-m", "tests.watcher", str(reading), str(os.getpid()), mark],
        stdin=subprocess.DEVNULL,
        pass_fds=(reading,),
        cwd=REPOSITORY,
        env=environment,
        check=True,
    )
    os.close(reading)

    def stop() -> None:
        os.write(writing, b".")
        os.close(writing)

    return stop


def main() -> None:
    reading, run, mark = sys.argv[1:]
    if os.read(int(reading), 1) == b"":
        _clean_up(int(run), f"{_MARK}={mark}".encode())


def _clean_up(run: int, mark: bytes) -> None:
    # One may have started another while it was being killed.
    while marked := list(_marked(mark)):
        for pid in marked:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    named = re.compile(rf"(pf|pft|pftest)-(.*\D)?{run}(?!\d).*")
    names = [path.name for path in Path("/run/netns").glob("pf*") if named.fullmatch(path.name)]
    for mesh in sorted({name.removeprefix("pf-").partition(".")[0] for name in names if name.startswith("pf-")}):
        _sweep(mesh)
    for name in names:
        _delete(name)
    for folder in Path(tempfile.gettempdir()).glob(f"pilotfish-e2e-{run}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _marked(mark: bytes) -> Iterator[int]:
    for environ in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended, or is a stranger's
            if mark in environ.read_bytes().split(b"\0"):
                yield int(environ.parent.name)


def _sweep(mesh: str) -> None:
    from pilotfish.runtime.node.claim import sweep_dead

    with tempfile.TemporaryDirectory() as root:
        asyncio.run(sweep_dead(Path(root), mesh))


def _delete(name: str) -> None:
    """A namespace that is no mesh's, and all that runs in it."""
    from pilotfish.runtime.linux.netns import NetNs

    namespace = NetNs.named(name)
    for pid in namespace.pids() if namespace.exists() else ():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    namespace.delete()


if __name__ == "__main__":
    main()
