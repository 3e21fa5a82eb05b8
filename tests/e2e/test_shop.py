"""examples/shop/README.md, block by block: what it says comes of each command is what does."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.replay import calls
from tests.e2e.harness import REPOSITORY
from tests.e2e.reader import Reader, reading

SHOP = REPOSITORY / "examples" / "shop"
ABOUT = re.compile(r"(\d+) or so")
PORTS = {"8080": "istio-ingressgateway.istio-system:80", "8443": "istio-ingressgateway.istio-system:443"}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with reading(tmp_path, SHOP, "e2e-shop", PORTS) as found:
        yield found


def test_each_block_does_what_it_says(reader: Reader) -> None:
    for call in calls((SHOP / "README.md").read_text()):
        answer = reader.run(call.command)
        assert call.expected is None or _fits(answer, call.expected), call.command
        if "pilotfish up" in call.command:
            reader.learn_ports()
    assert [path.name for path in reader.folder.iterdir() if path.suffix in (".key", ".crt")] == []


def _fits(answer: str, expected: str) -> bool:
    about = ABOUT.match(expected)
    if about is None:
        return answer == expected
    # So many of 200 requests, each by itself; outside of four and a half standard deviations once in 100,000 runs.
    share = int(about[1]) / 200
    return abs(int(answer) - 200 * share) <= 4.5 * math.sqrt(200 * share * (1 - share))
