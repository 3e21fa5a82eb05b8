"""What is printed depends on who reads it: how wide their terminal is, and where they stand."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pilotfish.explain.owner import Owner, Owners


def terminal_width() -> int | None:
    """Columns; None where standard output is no terminal: what reads it there wants whole lines."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def nearby(owners: Owners) -> Owners:
    """Their files as they are named from the current folder, if they are below it."""
    here = Path.cwd()

    def named(owner: Owner) -> Owner:
        if not owner.file or not Path(owner.file).is_relative_to(here):
            return owner
        return replace(owner, file=str(Path(owner.file).relative_to(here)))

    return {id: named(owner) for id, owner in owners.items()}
