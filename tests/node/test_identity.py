"""Who a pod is, and where."""

from __future__ import annotations

import pytest

from pilotfish.node.identity import name_machine


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("vm", "vm"),
        ("box.example.org", "box.example.org"),
        ("Ann_s-Laptop.local", "ann-s-laptop.local"),
        ("-odd-..name.", "odd.name"),
        ("___", "machine"),
        ("", "machine"),
    ],
)
def test_a_machine_has_a_name_that_a_node_may_have(hostname: str, name: str) -> None:
    assert name_machine(hostname) == name
