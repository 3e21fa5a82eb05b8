"""What a running mesh holds, as a World, and what it would hold after a change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pilotfish.cli.mesh.protocol import Mesh
    from pilotfish.cli.sources import ManifestText
    from pilotfish.offline.world import World


def foresee(mesh: Mesh, namespace: str, texts: Iterable[ManifestText]) -> tuple[World, World]:
    """What the mesh holds, and what it would hold after these texts are applied. `namespace`: of what names none."""
    from pilotfish.offline.difference import lay_over
    from pilotfish.offline.reading import read
    from pilotfish.offline.world import build

    before, revision, proxying = mesh.desired(), mesh.injection(), mesh.proxying()
    given = read([(text.file, text.content) for text in texts], namespace)
    after = lay_over(before, given)
    return build(before, 0.0, revision, proxying), build(after, 0.0, revision, proxying)


def read_world(mesh: Mesh, now: float = 0.0) -> World:
    """What the mesh holds now. `now`: seconds since the epoch, by which certificates may have expired."""
    from pilotfish.offline.world import build

    return build(mesh.desired(), now, mesh.injection(), mesh.proxying())
