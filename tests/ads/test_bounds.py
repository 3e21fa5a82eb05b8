"""How much one stream may ask for."""

from __future__ import annotations

from itertools import count

import pytest

from pilotfish.ads import LARGEST_REQUEST, DeltaRequest, ExcessiveRequestError, Stream, StreamCache
from pilotfish.envoy.types import CLUSTER, ENDPOINT
from tests.ads.envoys import resources, sent


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


def ask_for_others(stream: Stream, answers: bool) -> int:
    """How many times a stream takes that other resources are asked for, and those before no longer."""
    before: tuple[str, ...] = ()
    for time in range(20):
        names = tuple(f"{time}-{number}" for number in range(10_000))
        try:
            effects = stream.receive(DeltaRequest(ENDPOINT, subscribe=names, unsubscribe=before), time * 2.0)
        except ExcessiveRequestError:
            return time
        for payload in sent(effects):
            assert payload.removed == names
            if answers:
                stream.receive(DeltaRequest(ENDPOINT, nonce=payload.nonce), time * 2.0)
        before = names
    return 20


@pytest.mark.parametrize(("answers", "times"), [(True, 20), (False, 12)])
def test_names_of_responses_that_are_not_answered_count(answers: bool, times: int) -> None:
    stream = Stream(StreamCache(), delta=True)
    stream.update(resources(clusters={"a": "1"}), 0.0)
    assert ask_for_others(stream, answers) == times


def test_a_version_that_a_proxy_holds_is_short() -> None:
    stream = Stream(StreamCache(), delta=True)
    stream.receive(DeltaRequest(CLUSTER, initial={"a": "v" * 256}), 0.0)
    with pytest.raises(ExcessiveRequestError, match="a version is longer than 256 characters"):
        stream.receive(DeltaRequest(CLUSTER, initial={"a": "v" * 257}), 0.0)
