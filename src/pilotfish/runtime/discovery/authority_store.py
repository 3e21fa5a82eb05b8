"""Where the state of an authority is kept: a directory that is this discovery's alone, or what all replicas share.

directory:  what is decided is written, and in force
Shared:     what is decided is written, and in force for each replica as soon as it reads it
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias

from pilotfish.identity import kept
from pilotfish.identity.domains import Domains
from pilotfish.identity.succession import Succession
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.files import replace_file

State: TypeAlias = tuple[Succession, Domains]
Change: TypeAlias = Callable[[Succession, Domains], State]
"""From what is kept to what is to be; the same where nothing is to change."""

Adopt: TypeAlias = Callable[[Succession, Domains], None]


class Shared(Protocol):
    """What several replicas have in common."""

    spread: float
    """Seconds in which a new root comes to everybody: who starts meanwhile included."""

    @property
    def state(self) -> State:
        """As it was read last."""
        ...

    async def open(self, first: State, adopt: Adopt) -> State:
        """What there is, or `first` if there is nothing yet. From then on whatever comes is given to `adopt`.

        Raises MachineError.
        """
        ...

    async def change(self, step: Change) -> None:
        """In force here once it returns. MachineError where it can't be written."""
        ...

    def look(self) -> None:
        """The user's objects, or files, are others now: who leads sees to what follows."""
        ...


class Directory:
    def __init__(self, path: Path | None) -> None:
        """None forgets everything."""
        self._path = path

    def read(self) -> tuple[Succession | None, Domains | None]:
        """(None, None) where nothing was kept. Raises MachineError for what is there and can't be read."""
        if self._path is None:
            return None, None
        path = self._path / "authority.json"
        try:
            return kept.decode(path.read_bytes())
        except FileNotFoundError:
            return None, None
        except (OSError, kept.BrokenError) as error:
            # Another root would be trusted by nobody whose certificate is in use.
            raise MachineError(f"{path} can't be read: {error}", "restore it, or remove it for a new root") from error

    def write(self, succession: Succession, domains: Domains) -> None:
        """Raises MachineError."""
        if self._path is None:
            return
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_file(self._path / "authority.json", kept.encode(succession, domains), 0o600)
            replace_file(self._path / "root-cert.pem", succession.trusted, 0o600)
        except OSError as error:
            raise MachineError(f"{self._path} can't be written: {error.strerror}", "make room") from error
