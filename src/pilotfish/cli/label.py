"""`pilotfish label`."""

from __future__ import annotations

from typing import Any

import click

from pilotfish.cli.metadata import change_metadata, metadata_options


@click.command("label")
@metadata_options
def command(**options: Any) -> None:
    """Set labels of objects (KEY=VALUE), or remove them (KEY-)."""
    change_metadata("labels", "labeled", **options)
