"""Requests that are under way while something is done to a mesh, by programs of bench/."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.e2e.harness import PILOTFISH, REPOSITORY, Mesh

BENCH: Final = REPOSITORY / "bench"
STEADY: Final = ("-S", "-E", str(BENCH / "http_steady.py"))
"""Python's arguments; the program's own are the host, the port, the rate, seconds or `-`, and how it connects."""


@contextmanager
def load(mesh: Mesh, caller: str, *program: str) -> Iterator[dict[str, Any]]:
    """Requests as long as the block lasts, by a program that goes on until its input ends; what became of them is there
    then."""
    found: dict[str, Any] = {}
    line = [str(PILOTFISH), "exec", "--name", mesh.name, caller, "-i", "--", sys.executable, *program]
    client = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=mesh.environment)
    try:
        yield found
        said, _ = client.communicate("", timeout=60)
        found |= json.loads(said)
    finally:
        client.kill()
        client.wait()
