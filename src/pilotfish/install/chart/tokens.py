"""What stands in objects for what Helm fills in.

A token is text of the form `⟦how:path⟧`, alone or inside of other text. A mapping that the values hold whole is one
with a token as its only key, so that whoever merges it keeps it.
"""

from __future__ import annotations

import re
from typing import Final

ALL: Final = re.compile(r"⟦(\w+):([\w.]*)⟧")
REVISION: Final = "⟦revision:⟧"
SUFFIX: Final = f"-{REVISION}"
"""At the end of a revision's names: nothing where there is none."""

HUB: Final = "⟦hub:⟧/"
"""Before an image's name: nothing where there is none."""


def text(path: str) -> str:
    return f"⟦text:{path}⟧"


def plain(path: str) -> str:
    """A number or a truth value."""
    return f"⟦plain:{path}⟧"


def optional(path: str) -> str:
    """Text; without it the field is not there."""
    return f"⟦optional:{path}⟧"


def listed(path: str) -> tuple[str, ...]:
    """All items of a list."""
    return (f"⟦list:{path}⟧",)


def mapping(path: str) -> dict[str, str]:
    """All entries of a mapping."""
    return {f"⟦map:{path}⟧": ""}


def overlay(path: str) -> dict[str, str]:
    """A mapping that is merged, at all depths, over the one that it stands in."""
    return {f"⟦overlay:{path}⟧": ""}


def how(value: object) -> tuple[str, str]:
    """(how, path) of what is a token and nothing else; ("", "") for anything else."""
    found = ALL.fullmatch(value) if isinstance(value, str) else None
    return (found[1], found[2]) if found else ("", "")
