"""However large a text is: others have their turn while it is read."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import Iterator

import pytest

from pilotfish.config import ListReader, load_in_pieces
from pilotfish.runtime.turns import in_turns

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: s%d}\nspec: {ports: [{port: 80}]}\n---\n"
TEXTS = {
    "many objects": "".join(SERVICE % index for index in range(1_000)),
    "a long list": "a: [" + "x, " * 200_000 + "x]",
    "many slips": "- kind: x\n---\n" * 3_000,
    "one object of much that is wrong": SERVICE % 1 + "spec:\n" + "".join(f"  k{i}: 1\n" for i in range(40_000)),
}
LONGEST = 0.1


@pytest.fixture(autouse=True)
def _others_objects_do_not_count() -> Iterator[None]:
    """Those of all tests before would be walked by the garbage collector."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


async def longest_wait(task: asyncio.Task[object]) -> float:
    """Seconds of the processor's that pass between two turns of another's; other processes don't count."""
    longest = 0.0
    while not task.done():
        began = time.process_time()
        await asyncio.sleep(0)
        longest = max(longest, time.process_time() - began)
    await task
    return longest


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_nobody_waits_long_for_a_text(text: str) -> None:
    task = asyncio.ensure_future(in_turns(load_in_pieces(text, "a.yaml")))
    assert await longest_wait(task) < LONGEST


async def test_nobody_waits_long_for_a_list() -> None:
    items = [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"s{i}"}, "spec": {}} for i in range(2_000)]
    data = json.dumps({"apiVersion": "v1", "kind": "List", "items": items}).encode()
    task = asyncio.ensure_future(in_turns(ListReader().read_in_pieces(data)))
    assert await longest_wait(task) < LONGEST
