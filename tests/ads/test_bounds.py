"""How much one stream may ask for."""

from __future__ import annotations

from itertools import count

import pytest

from pilotfish.ads import LARGEST_REQUEST, DeltaRequest, ExcessiveRequestError, Stream, StreamCache
from pilotfish.envoy.types import ENDPOINT


def ask(length: int) -> int:
    """How many names, a thousand at a time, a stream takes."""
    stream = Stream(StreamCache(), delta=True)
    for asked in count(0, 1_000):
        names = tuple(f"{number:0{length}}" for number in range(asked, asked + 1_000))
        try:
            stream.receive(DeltaRequest(ENDPOINT, subscribe=names), 0.0)
        except ExcessiveRequestError:
            return asked
    raise AssertionError


@pytest.mark.parametrize("length", [10, 1_000])
def test_names_are_kept_up_to_a_number_and_a_size(length: int) -> None:
    most = min(2**16, LARGEST_REQUEST // length)
    assert most - 1_000 < ask(length) <= most


def test_types_are_kept_up_to_a_number() -> None:
    stream = Stream(StreamCache(), delta=True)
    for number in range(16):
        stream.receive(DeltaRequest(f"type.googleapis.com/{number}"), 0.0)
    with pytest.raises(ExcessiveRequestError, match="17 types"):
        stream.receive(DeltaRequest("type.googleapis.com/more"), 0.0)
