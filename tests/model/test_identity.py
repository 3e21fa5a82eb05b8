"""Identities, as text and back."""

from __future__ import annotations

import pytest

from pilotfish.model.identity import Identity


def test_an_identity_is_written_and_read() -> None:
    identity = Identity("cluster.local", "vm", "calculator")
    assert str(identity) == "spiffe://cluster.local/ns/vm/sa/calculator"
    assert Identity.parse(str(identity)) == identity


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "spiffe://cluster.local",
        "spiffe://cluster.local/ns/vm",
        "spiffe://cluster.local/ns/vm/sa/a/b",
        "https://cluster.local/ns/vm/sa/a",
        "spiffe:///ns/vm/sa/a",
        "spiffe://cluster.local/sa/vm/ns/a",
    ],
)
def test_what_is_no_workloads_identity(uri: str) -> None:
    assert Identity.parse(uri) is None
