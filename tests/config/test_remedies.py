"""A remedy that a Problem names leads into no other Problem."""

from __future__ import annotations

import pytest

from pilotfish import config

TEXT = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop, namespace: vm}}
spec:
  hosts: ["{host}"]
  gateways: ["{gateway}"]
  http: [{{route: [{{destination: {{host: shop}}}}]}}]
"""


@pytest.mark.parametrize(("host", "offered"), [("shop", True), ("*", False)])
def test_the_mesh_is_offered_as_a_gateway_for_hosts_that_it_can_have(host: str, offered: bool) -> None:
    (problem,) = config.load(TEXT.format(host=host, gateway="*"), "mesh.yaml").problems
    assert (problem.field, "or mesh" in problem.message) == ("spec.gateways[0]", offered)
    assert (not config.load(TEXT.format(host=host, gateway="mesh"), "mesh.yaml").problems) is offered
