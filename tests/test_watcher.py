"""A test run that is killed outright leaves nothing behind, and takes nobody else's along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pilotfish.runtime.linux.netns import NetNs
from tests.waiting import wait_until
from tests.watcher import REPOSITORY

KILLED = """
import os, subprocess, sys, time
from pathlib import Path
from pilotfish.runtime.linux.netns import NetNs

def test_that_is_killed(netns):
    mesh = NetNs.create(f"pf-e2e-killed-{os.getpid()}.default.pod")
    with mesh.entered():
        inside = subprocess.Popen(["env", "-i", "sleep", "600"])
    outside = subprocess.Popen(["sleep", "600"], start_new_session=True)
    folder = Path(f"/tmp/pilotfish-e2e-{os.getpid()}-killed")
    folder.mkdir()
    print("READY", os.getpid(), inside.pid, outside.pid, netns.path, mesh.path, folder, file=sys.__stderr__, flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces take root")
@pytest.mark.parametrize(("workers", "victim"), [(0, "the run"), (1, "the run"), (1, "its worker")])
def test_a_killed_run_leaves_nothing(tmp_path: Path, netns: NetNs, workers: int, victim: str) -> None:
    (tmp_path / "test_killed.py").write_text(KILLED)
    options = ["-c", str(REPOSITORY / "pyproject.toml"), "--rootdir", str(REPOSITORY), "-p", "tests.conftest"]
    neighbour = subprocess.Popen(["sleep", "600"])
    run = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            *options,
            f"-n{workers}",
            "--capture=no",
            str(tmp_path / "test_killed.py"),
        ],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert run.stderr is not None
        said = next(line.split() for line in run.stderr if line.startswith("READY"))
        assert (run.pid == int(said[1])) is not bool(workers)
        paths = [*(Path("/proc", pid) for pid in said[2:4]), *map(Path, said[4:])]
        assert all(path.exists() for path in paths)
        os.kill(run.pid if victim == "the run" else int(said[1]), signal.SIGKILL)
        wait_until("all of it is gone", lambda: not any(path.exists() for path in paths))
        assert neighbour.poll() is None
        assert netns.exists()
    finally:
        run.kill()
        run.communicate()
        neighbour.kill()
        neighbour.wait()
