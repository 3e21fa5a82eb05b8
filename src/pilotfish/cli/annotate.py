"""`pilotfish annotate`."""

from __future__ import annotations

from typing import Any

import click

from pilotfish.cli.metadata import change_metadata, metadata_options


@click.command("annotate")
@metadata_options
def command(**options: Any) -> None:
    """Set annotations of objects (KEY=VALUE), or remove them (KEY-)."""
    change_metadata("annotations", "annotated", **options)
