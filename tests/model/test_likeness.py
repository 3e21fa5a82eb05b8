"""Suggestions: what is like what, in names that end alike."""

from __future__ import annotations

import pytest

from pilotfish.model.likeness import closest

END = "default.svc.cluster.local"


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        (f"wbe.{END}", [f"web.{END}", f"db.{END}"], f"web.{END}"),
        (f"reviews.{END}", [f"ratings.{END}", f"details.{END}", f"productpage.{END}"], ""),
        (f"nobody.{END}", [f"shop.{END}"], ""),
        ("web.prd.svc.cluster.local", ["web.prod.svc.cluster.local", f"web.{END}"], "web.prod.svc.cluster.local"),
        ("httpbin.og", ["httpbin.org", "example.org"], "httpbin.org"),
        ("traffic.sidecar.istio.io/inclInboundPorts", ["traffic.sidecar.istio.io/includeInboundPorts"],
         "traffic.sidecar.istio.io/includeInboundPorts"),
        ("traffic.sidecar.istio.io/colour", ["traffic.sidecar.istio.io/includeInboundPorts"], ""),
        ("web", [], ""),
        ("web", ["web.x"], ""),
    ],
)  # fmt: skip
def test_the_part_that_differs_is_compared(name: str, known: list[str], found: str) -> None:
    assert closest(name, known) == found
