"""examples/bookshop, block by block: as processes, and as images."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.replay import calls, fits
from tests.e2e.harness import REPOSITORY
from tests.e2e.reader import Reader, reading
from tests.images import podman

BOOKSHOP = REPOSITORY / "examples" / "bookshop"
PORTS = {"8080": "istio-ingressgateway.istio-system:80"}
NEEDED = ("go", "rustc", "gcc", "busybox", "podman")
IMAGES = tuple(f"localhost/bookshop/{name}:v1" for name in ("shop", "catalog", "prices", "stock", "reviews"))

pytestmark = pytest.mark.skipif(
    (missing := [name for name in NEEDED if shutil.which(name) is None]) != [],
    reason=f"{', '.join(missing)} missing, which the bookshop is built with",
)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with reading(tmp_path, BOOKSHOP, "e2e-bookshop", PORTS) as found:
        yield found
    there = podman("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    if made := [image for image in IMAGES if image in there]:
        podman("rmi", "--force", *made)


@pytest.mark.timeout(240)
def test_each_block_does_what_it_says(reader: Reader) -> None:
    for call in calls((BOOKSHOP / "README.md").read_text()):
        answer = reader.run(call.command)
        assert call.expected is None or fits(answer, call.expected), f"{call.command}\n{answer}"
        if "pilotfish up" in call.command:
            reader.learn_ports()
