"""What is printed depends on who reads it: how wide their terminal is, and where they stand."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pilotfish.explain.owner import FindOwner, Owner
    from pilotfish.explain.trace import Step


def terminal_width() -> int | None:
    """Columns; None where standard output is no terminal: what reads it there wants whole lines."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def nearby(find_owner: FindOwner) -> FindOwner:
    """Owners' files as they are named from the current folder, if they are below it."""
    here = Path.cwd()

    def find(path: str, step: Step | None = None) -> Owner | None:
        owner = find_owner(path, step)
        if owner is None or not owner.file or not Path(owner.file).is_relative_to(here):
            return owner
        return replace(owner, file=str(Path(owner.file).relative_to(here)))

    return find
