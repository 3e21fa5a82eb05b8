"""What a running mesh holds, as a World, and what it would hold after a change."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pilotfish.cli.session import Session

if TYPE_CHECKING:
    from pilotfish.cli.sources import ManifestText
    from pilotfish.config.desired import DesiredState
    from pilotfish.offline.world import World


def foresee(session: Session, texts: Iterable[ManifestText]) -> tuple[World, World]:
    """What the mesh holds, and what it would hold after applying these texts."""
    from pilotfish.offline.difference import lay_over
    from pilotfish.offline.reading import read
    from pilotfish.offline.world import build

    before = _read(session)
    given = read([(text.file, text.content) for text in texts], session.namespace)
    return build(before), build(lay_over(before, given))


def read_world(session: Session) -> World:
    """What the mesh holds now."""
    from pilotfish.offline.world import build

    return build(_read(session))


def _read(session: Session) -> DesiredState:
    from pilotfish.offline.reading import read_list

    listed = {"apiVersion": "v1", "kind": "List", "items": session.client.objects()}
    mesh_config = Path(session.mesh.directory) / "config" / "mesh.yaml"
    config = (str(mesh_config), mesh_config.read_text() if mesh_config.exists() else "")
    return read_list(msgspec.json.encode(listed), config)
