"""examples/shop/README.md, block by block: what it says comes of each command is what does."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.shell import blocks
from tests.e2e.harness import PILOTFISH, REPOSITORY, leftovers, run

SHOP = REPOSITORY / "examples" / "shop"
ABOUT = re.compile(r"(\d+) or so")
PORTS = {"8080": "80", "8443": "443"}
"""That the README publishes; here they are whichever are free."""


class Reader:
    """Somebody who follows the README in a copy of the folder, with a mesh of another name and other ports."""

    def __init__(self, root: Path) -> None:
        self.folder, self.name = root / "examples" / "shop", f"e2e-shop-{os.getpid()}"
        self.ports: dict[str, str] = {}
        shutil.copytree(SHOP, self.folder)
        command = root / "bin" / "pilotfish"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nfirst=$1\nshift\nexec {PILOTFISH} "$first" --name {self.name} "$@"\n')
        command.chmod(0o755)
        path = f"{command.parent}:{os.environ['PATH']}"
        self.environment = {**os.environ, "PATH": path, "PILOTFISH_STATE": str(root / "state"), "NO_COLOR": "1"}

    def run(self, script: str) -> str:
        return run("bash", "-ec", self._adapted(script), cwd=self.folder, env=self.environment).stdout

    def _adapted(self, script: str) -> str:
        for port in PORTS:
            script = re.sub(rf"--publish {port}:", "--publish 0:", script)
            script = script.replace(f":{port}", f":{self.ports.get(port, port)}")
        return script.replace("cd examples/shop\n", "")

    def learn_ports(self) -> None:
        shown = json.loads(self.run("pilotfish status -o json"))["published"]
        targets = {each["target"]: each["address"].rpartition(":")[2] for each in shown}
        self.ports = {port: targets[f"istio-ingressgateway.istio-system:{inner}"] for port, inner in PORTS.items()}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    reading = Reader(tmp_path)
    try:
        yield reading
    finally:
        run(PILOTFISH, "down", "--name", reading.name, check=False, env=reading.environment)
        assert leftovers(reading.name) == []


def test_each_block_does_what_it_says(reader: Reader) -> None:
    for block in blocks((SHOP / "README.md").read_text()):
        if block.word == "sh":
            reader.run(block.body)
            if "pilotfish up" in block.body:
                reader.learn_ports()
        elif block.word == "console":
            for call in re.split(r"^\$ ", block.body, flags=re.MULTILINE)[1:]:
                command, _, expected = call.partition("\n")
                assert _fits(reader.run(command), expected), command
    assert [path.name for path in reader.folder.iterdir() if path.suffix in (".key", ".crt")] == []


def _fits(answer: str, expected: str) -> bool:
    about = ABOUT.match(expected)
    if about is None:
        return answer == expected
    # So many of 200 requests, each by itself; outside of four and a half standard deviations once in 100,000 runs.
    share = int(about[1]) / 200
    return abs(int(answer) - 200 * share) <= 4.5 * math.sqrt(200 * share * (1 - share))
