"""Parts of a mesh that run alone: two namespaces and a cable between them, and commands in the background."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pilotfish.identity.requests import new_key
from pilotfish.identity.tokens import Claims, make_token, public_key
from pilotfish.model.private import reveal
from tests.e2e.harness import run

Place = tuple[str, str]
"""A namespace, and its address."""


@contextmanager
def joined(pod: Place, other: Place) -> Iterator[None]:
    """What the first knows no way to, it sends to the second."""
    wide = "64" if ":" in pod[1] else "24"
    lasting = ("nodad",) if ":" in pod[1] else ()
    try:
        for name, _ in (pod, other):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", pod[0], "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", other[0])
        for name, address in (pod, other):
            run("ip", "-n", name, "address", "add", f"{address}/{wide}", "dev", "eth0", *lasting)
            run("ip", "-n", name, "link", "set", "eth0", "up")
        run("ip", "-n", pod[0], "route", "add", "default", "via", other[1])
        yield
    finally:
        for name, _ in (pod, other):
            run("ip", "netns", "delete", name, check=False)


class Started:
    """Commands in the background, each with a log; all are ended in the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str | Path) -> subprocess.Popen[bytes]:
        with self.log(name).open("wb") as log:
            process = subprocess.Popen([str(c) for c in command], stdout=log, stderr=log)
        self.processes[name] = process
        return process

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def write_token(folder: Path, address: str) -> None:
    """`token`, of the pod web-0.vm, and `token.pub`, by which discovery knows it."""
    key = new_key()
    (folder / "token.pub").write_bytes(public_key(key))
    claims = Claims("vm", "default", "web-0", "", (address,))
    (folder / "token").write_text(reveal(make_token(key, claims, time.time())))


def inside(namespace: str, *command: str | Path) -> tuple[str | Path, ...]:
    return ("ip", "netns", "exec", namespace, *command)


def answers(namespace: str, url: str) -> bool:
    return run(*inside(namespace, "curl", "-sSf", "-m", "3", "-o", "/dev/null", url), check=False).returncode == 0
