"""The images of this machine."""

from __future__ import annotations

from collections.abc import Iterable

from pilotfish.cli.render.age import render_age
from pilotfish.cli.render.table import Table, table
from pilotfish.runtime.images.podman import Listed

_ID = 12


def render_images(images: Iterable[Listed], now: float) -> Table:
    """A line for each name."""
    rows = (
        (name, image.id[:_ID], f"{image.size / 1e6:.1f} MB", render_age(now - image.created))
        for image in images
        for name in image.names
    )
    return table(("IMAGE", "ID", "SIZE", "CREATED"), rows)
