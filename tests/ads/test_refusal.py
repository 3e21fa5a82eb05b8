"""Which resources Envoy's words are about."""

from __future__ import annotations

import pytest

from pilotfish.ads.refusal import named_in
from pilotfish.envoy.types import CLUSTER, LISTENER, ROUTE, xds_type

CASES = [
    (CLUSTER, "Error adding/updating cluster(s) a: no, b: bad port", ("a", "b", "c"), ("a", "b")),
    (
        CLUSTER,
        "Error adding/updating cluster(s) outbound|80||b: no",
        ("outbound|80||a", "outbound|80||b"),
        ("outbound|80||b",),
    ),
    (CLUSTER, "Error adding/updating cluster(s) ab: see a: no", ("a", "ab"), ("ab",)),
    (LISTENER, "Error adding/updating listener(s) x: no\ny: worse", ("x", "y", "z"), ("x", "y")),
    (LISTENER, "Error adding/updating listener(s) 0.0.0.0_80: no", ("0.0.0.0_8", "0.0.0.0_80"), ("0.0.0.0_80",)),
    (CLUSTER, "the connection is on fire", ("a", "b"), ()),
    (ROUTE, "no argument for repetition operator: *", ("80", "90"), ()),
    (ROUTE, "route '80' is bad", ("80", "90"), ("80",)),
    (ROUTE, "anything", ("80",), ("80",)),
]


@pytest.mark.parametrize(("type_url", "message", "names", "refused"), CASES)
def test_named_in(type_url: str, message: str, names: tuple[str, ...], refused: tuple[str, ...]) -> None:
    assert named_in(xds_type(type_url), message, names) == refused
