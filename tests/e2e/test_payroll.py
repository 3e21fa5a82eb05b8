"""examples/payroll, block by block; and that a mesh becomes STRICT, and PERMISSIVE again, without a failed request."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.replay import calls, fits
from tests.e2e.harness import PILOTFISH, REPOSITORY, MakeMesh, Mesh
from tests.e2e.reader import Reader, reading
from tests.waiting import wait_until

PAYROLL = REPOSITORY / "examples" / "payroll"
STRICT = (PAYROLL / "strict.yaml").read_text()
PERMISSIVE = STRICT.replace("STRICT", "PERMISSIVE")
MANIFESTS, SERVER = (PAYROLL / "mesh.yaml").read_text(), (PAYROLL / "server.py").read_text()
ROUNDS, RESET = 3, 56
"""How curl ends where the other side resets the connection."""
URL = "http://payroll:8000/salaries"
LOAD = """
import http.client, sys, time
pooled = http.client.HTTPConnection("payroll", 8000, timeout=10)
asked = 0
while True:
    for connection in (pooled, http.client.HTTPConnection("payroll", 8000, timeout=10)):
        connection.request("GET", "/salaries")
        answer = connection.getresponse()
        said = answer.read().decode()
        if answer.status != 200 or "sa/accounting" not in said:
            sys.exit(f"request {asked}: {answer.status} {said}")
        asked += 1
    connection.close()
    print(asked, flush=True)
"""
"""Each request twice: over a connection that lasts, and over one of its own. Ends with the first that fails."""


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with reading(tmp_path, PAYROLL, "e2e-payroll", {}) as found:
        yield found


def test_each_block_does_what_it_says(reader: Reader) -> None:
    for call in calls((PAYROLL / "README.md").read_text()):
        answer = reader.run(call.command)
        assert call.expected is None or fits(answer, call.expected), f"{call.command}\n{answer}"


def test_no_request_fails_while_a_mesh_becomes_strict_and_permissive_again(make_mesh: MakeMesh, tmp_path: Path) -> None:
    with make_mesh("payroll", {"mesh.yaml": MANIFESTS, "server.py": SERVER}) as mesh, loading(mesh, tmp_path) as load:
        for _ in range(ROUNDS):
            _apply(mesh, STRICT)
            load.go_on()
            assert mesh.curl("old.payroll", URL, check=False).returncode == RESET, "without a sidecar nobody is served"
            assert mesh.curl("old.payroll", URL.replace("http:", "https:"), "-k", check=False).returncode != 0
            _apply(mesh, PERMISSIVE)
            load.go_on()
            assert mesh.curl("old.payroll", URL).stdout == "/salaries for somebody\n"
        inbound = wait_until(
            "the last of them is counted", lambda: _plaintext(mesh) >= ROUNDS and mesh.status["inbound"]
        )
        assert _plaintext(mesh) == ROUNDS
        assert inbound["mutual"] > 0
        said = f"mutual TLS {inbound['mutual']} of {inbound['connections']} connections; others to payroll.payroll\n"
        assert said in mesh.call("status").stdout


def _plaintext(mesh: Mesh) -> int:
    inbound = mesh.status["inbound"]
    return int(inbound["connections"] - inbound["mutual"])


def _apply(mesh: Mesh, text: str) -> None:
    mesh.call("apply", "--wait", "-f", mesh.write("peers.yaml", text))


class Load:
    def __init__(self, process: subprocess.Popen[bytes], output: Path) -> None:
        self._process, self._output = process, output

    def go_on(self) -> None:
        """Until so many more requests were answered; fails with the first that was not."""
        before = self._asked()
        wait_until("requests go on", lambda: self._process.poll() is not None or self._asked() > before + 50)
        assert self._process.poll() is None, self._output.read_text()[-1000:]

    def _asked(self) -> int:
        return 2 * self._output.read_text().count("\n")


@contextmanager
def loading(mesh: Mesh, folder: Path) -> Iterator[Load]:
    output = folder / "load"
    command = [str(PILOTFISH), "exec", "--name", mesh.name, "accounting.payroll", "--", "python3", "-c", LOAD]
    with (
        output.open("w") as file,
        subprocess.Popen(command, stdout=file, stderr=file, env=mesh.environment) as process,
    ):
        try:
            load = Load(process, output)
            load.go_on()
            yield load
            load.go_on()
        finally:
            process.kill()
