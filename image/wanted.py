"""requirements.lock on standard input, without what only development wants, on standard output.

    wanted.py [NAME...]     what is named, too: it builds the package

pip has no way to install a part of a lock and to check hashes; uv notes who wants a package, and that is followed here.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

_OURS = "pilotfish (pyproject.toml)"


def split_lock(text: str) -> Iterator[str]:
    """One package each: `NAME==VERSION ; MARKER`, its hashes, and who wants it."""
    yield from (part for part in re.split(r"(?m)^(?=[A-Za-z0-9])", text) if part.strip())


def find_wanted(packages: dict[str, frozenset[str]], named: frozenset[str]) -> frozenset[str]:
    """Those that pilotfish needs, and the named, from who wants whom."""
    found = named
    while more := {name for name, by in packages.items() if by & {_OURS, *found}} - found:
        found |= more
    return found


def _name(package: str) -> str:
    return package.partition("==")[0]


def _wanted_by(package: str) -> frozenset[str]:
    notes = re.findall(r"(?m)^ +#(?: via)? *(.*)$", package)
    return frozenset(note for note in notes if note)


def main(*named: str) -> None:
    packages = {_name(package): package for package in split_lock(sys.stdin.read())}
    wanted = find_wanted({name: _wanted_by(package) for name, package in packages.items()}, frozenset(named))
    sys.stdout.writelines(package for name, package in packages.items() if name in wanted)


if __name__ == "__main__":
    main(*sys.argv[1:])
