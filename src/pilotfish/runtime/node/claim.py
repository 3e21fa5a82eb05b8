"""Whose a mesh is. The process that runs it holds two locks, which the kernel lets go with it.

One is on its name: namespaces and links are called after it, so that it must be one mesh's alone on the machine, while
`PILOTFISH_STATE` may name several roots of directories. The other is on its directory: a name is held on one machine,
and containers with a /run of their own may share a root.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from pilotfish.runtime.control.client import find_meshes
from pilotfish.runtime.net.leftovers import sweep
from pilotfish.runtime.net.names import check_mesh_name, node_name
from pilotfish.runtime.node.limiter import sweep_limits
from pilotfish.runtime.node.options import CannotStart
from pilotfish.runtime.node.writable import ROOT, sweep_images

_LOCKS = Path("/run/pilotfish.lock")
"""In memory, so that it ends with the machine's run, as namespaces do. Nobody but root may make anything in /run, so
that nobody else holds up a mesh by its name."""
_VIEW = "mesh.json"
"""The mark of a mesh: what is written first into its directory, and removed last."""


class Claim:
    """After `take`, until `release`, this process and no other runs the mesh."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._descriptor = -1
        self._name = -1

    def take(self) -> None:
        """Raises CannotStart, naming the process, if the mesh runs already; or if the directory is a stranger's."""
        if self.try_take():
            if not is_ours(self.directory):
                self.release()
                raise CannotStart(f"{self.directory} holds other things than a mesh; remove it, or give another --name")
            (self.directory / _VIEW).touch()
            return
        name = self.directory.name
        pid = next((mesh.pid for mesh in find_meshes(self.directory.parent) if mesh.name == name), None)
        if pid:
            who = f"as process {pid}"
        elif self.directory.exists():
            who = "and is just starting"
        else:
            who = f"or is just starting, with another PILOTFISH_STATE than {self.directory.parent}"
        raise CannotStart(
            f'mesh "{name}" runs already, {who}; see it with `pilotfish status --name {name}`, '
            f"end it with `pilotfish down --name {name}`, or give this one another --name"
        )

    def try_take(self) -> bool:
        """False if another process has it."""
        self._name = _hold(self.directory.name)
        if self._name < 0:
            return False
        while True:
            self.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
            self._descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.release()
                return False
            if self.directory.exists() and os.fstat(self._descriptor).st_ino == self.directory.stat().st_ino:
                return True
            os.close(self._descriptor)  # its last owner removed it between the two calls

    def release(self) -> None:
        if self._name >= 0:
            _lock_path(self.directory.name).unlink(missing_ok=True)
            os.close(self._name)
            self._name = -1
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


async def sweep_dead(root: Path, name: str | None = None) -> dict[str, tuple[str, ...]]:
    """Removes what dead meshes under `root` left: mesh → what was removed, line by line.

    With `name`, only what that mesh left, even if its directory is gone or was never filled.
    """
    if name is not None:
        check_mesh_name(name)
    # Only what bears the mark of a mesh: `root` is the user's choice, and may hold other things.
    names = [name] if name is not None else sorted(path.parent.name for path in root.glob(f"*/{_VIEW}"))
    swept = {each: await _sweep_dead(root / each) for each in names}
    return {each: lines for each, lines in swept.items() if lines}


async def _sweep_dead(directory: Path) -> tuple[str, ...]:
    existed = directory.exists()
    claim = Claim(directory)
    if not claim.try_take():
        return ()
    try:
        found = await sweep(directory.name)
        found = (*found, *await sweep_images(directory.name), *sweep_limits(directory.name))
        removed = remove_directory(directory)
    finally:
        claim.release()
    return (*found, f"directory {directory}") if existed and removed else found


def is_ours(directory: Path) -> bool:
    """It bears the mark of a mesh, or nothing is in it: whoever was killed before he could write the mark left that."""
    return (directory / _VIEW).exists() or not any(directory.iterdir())


def find_private(root: Path) -> tuple[str, ...]:
    """The directories that no pod is to see: of every mesh, with its control socket, and the locks.

    `root` itself, so that those of meshes to come are among them, unless it holds other things: they are the user's.
    """
    entries = tuple(root.iterdir())
    meshes = tuple(entry for entry in entries if entry.is_dir() and is_ours(entry))
    places = (root,) if len(meshes) == len(entries) else meshes
    # By their own names, too: what a container is shown of them, its volumes, is named so.
    return tuple(dict.fromkeys(str(path) for place in (*places, _LOCKS, ROOT) for path in (place.resolve(), place)))


def remove_directory(directory: Path) -> bool:
    """The mark goes last, so that one who is killed here leaves what can be known again. False for a stranger's."""
    if not directory.is_dir() or not is_ours(directory):
        return False
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != _VIEW:
            path.unlink(missing_ok=True)
    shutil.rmtree(directory, ignore_errors=True)
    return True


def _hold(name: str) -> int:
    """A lock on the mesh's name; -1 if it is taken."""
    _LOCKS.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = _lock_path(name)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return -1
        if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
            return descriptor
        os.close(descriptor)  # its last owner removed it between the two calls


def _lock_path(name: str) -> Path:
    return _LOCKS / node_name(name)
