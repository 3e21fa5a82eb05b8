"""Whose a mesh's directory is. The process that runs the mesh holds a lock on it, which the kernel lets go with it."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from pilotfish.runtime.control.client import find_meshes
from pilotfish.runtime.leftovers import sweep
from pilotfish.runtime.node.options import CannotStart


class Claim:
    """`with Claim(directory):` this process, and no other, runs the mesh."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._descriptor = -1

    def take(self) -> None:
        """Raises CannotStart, naming the process, if the mesh runs already."""
        if not self.try_take():
            name = self.directory.name
            pid = next((mesh.pid for mesh in find_meshes(self.directory.parent) if mesh.name == name), None)
            who = f"as process {pid}" if pid else "and is just starting"
            raise CannotStart(
                f'mesh "{name}" runs already, {who}; see it with `pilotfish status --name {name}`, '
                f"end it with `pilotfish down --name {name}`, or give this one another --name"
            )

    def try_take(self) -> bool:
        """False if another process has it."""
        while True:
            self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                return False
            if self.directory.exists() and os.fstat(descriptor).st_ino == self.directory.stat().st_ino:
                self._descriptor = descriptor
                return True
            os.close(descriptor)  # its last owner removed it between the two calls

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


async def sweep_dead(root: Path, name: str | None = None) -> dict[str, tuple[str, ...]]:
    """Removes what dead meshes under `root` left (only `name`, if given): mesh → what was removed, line by line."""
    removed = {}
    # Only what bears the mark of a mesh: `root` is the user's choice, and may hold other things.
    for directory in sorted(path.parent for path in root.glob("*/mesh.json")):
        if name is not None and directory.name != name:
            continue
        claim = Claim(directory)
        if claim.try_take():
            try:
                found = await sweep(directory.name)
                shutil.rmtree(directory)
            finally:
                claim.release()
            removed[directory.name] = (*found, f"directory {directory}")
    return removed
