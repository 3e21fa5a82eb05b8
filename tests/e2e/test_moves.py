"""Traffic moves, and what it left is deleted, in one save: nobody is led where nobody is any more."""

from __future__ import annotations

from bench.moves import Clients, move, text
from tests.e2e.harness import MakeMesh


def test_a_save_that_moves_all_traffic_and_deletes_the_pods_that_it_left_fails_no_request(make_mesh: MakeMesh) -> None:
    with make_mesh("moves", text("v1", to="v1")) as mesh:
        clients = Clients(mesh)
        for versions in (("v1", "v2"), ("v2", "v1")) * 4:
            move(mesh, *versions)
        requests, bad = clients.stop()
    assert requests > 0
    assert bad == []
