"""Somebody who follows a document in a copy of its folder, with a mesh of another name and other ports."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.harness import PILOTFISH, leftovers, run


class Reader:
    def __init__(self, root: Path, example: Path, name: str, ports: Mapping[str, str]) -> None:
        """`ports`: those that the document publishes, and where each leads (`SERVICE.NAMESPACE:PORT`); here they are
        whichever are free."""
        self.folder, self.name = root / "examples" / example.name, f"{name}-{os.getpid()}"
        self._targets, self._ports = ports, dict[str, str]()
        shutil.copytree(example, self.folder)
        command = root / "bin" / "pilotfish"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nfirst=$1\nshift\nexec {PILOTFISH} "$first" --name {self.name} "$@"\n')
        command.chmod(0o755)
        path = f"{command.parent}:{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "PILOTFISH_STATE": str(root / "state"), "NO_COLOR": "1"}

    def run(self, script: str, folder: str = "") -> str:
        return run("bash", "-ec", self._adapted(script), cwd=self.folder / folder, env=self.environment).stdout

    def _adapted(self, script: str) -> str:
        for port in self._targets:
            script = re.sub(rf"--publish {port}:", "--publish 0:", script)
            script = script.replace(f":{port}", f":{self._ports.get(port, port)}")
        return re.sub(r"^cd examples/.*\n", "", script, flags=re.MULTILINE)

    def learn_ports(self) -> None:
        """Once the mesh is up."""
        shown = json.loads(self.run("pilotfish status -o json"))["published"]
        places = {each["target"]: each["address"].rpartition(":")[2] for each in shown}
        self._ports = {port: places[target] for port, target in self._targets.items()}


@contextmanager
def reading(root: Path, example: Path, name: str, ports: Mapping[str, str]) -> Iterator[Reader]:
    """Nothing is left behind, whatever the document takes down."""
    reader = Reader(root, example, name, ports)
    try:
        yield reader
    finally:
        run(PILOTFISH, "down", "--name", reader.name, check=False, env=reader.environment)
        assert leftovers(reader.name) == []
