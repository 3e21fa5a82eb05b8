"""Which objects changed from one state to the next, whatever the order in which they stand there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pilotfish.config.desired import DesiredState
from pilotfish.config.manifest import Manifest
from pilotfish.discovery.mesh import Mesh
from pilotfish.model import ObjectRef
from tests.mesh.meshes import service

NAMES = ("a", "b", "c", "d", "e")
FORMS = {(name, port): service(name, ports=[{"name": "http", "port": port}]) for name in NAMES for port in (80, 81)}
States = st.lists(st.sampled_from(sorted(FORMS)), unique_by=lambda each: each[0], max_size=5)


def manifests(state: list[tuple[str, int]]) -> dict[ObjectRef, Manifest]:
    return {FORMS[each].ref: FORMS[each] for each in state}


@given(States, States)
def test_changes(before: list[tuple[str, int]], after: list[tuple[str, int]]) -> None:
    mesh = Mesh()
    mesh.apply(DesiredState(manifests=manifests(before)))
    old, new = manifests(before), manifests(after)
    changed, moved = mesh.apply(DesiredState(manifests=new))
    assert changed == {ref for ref in old.keys() | new.keys() if old.get(ref) != new.get(ref)}
    assert moved is bool(changed)
