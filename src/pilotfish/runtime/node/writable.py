"""Where containers made from images have what they change of them: on the disk, so that it is no memory of theirs.

/var/lib/pilotfish/MESH/POD/CONTAINER/      gone with the pod; what a dead mesh left, with the sweep
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.images import podman

ROOT = Path("/var/lib/pilotfish")


def make_writable(mesh: str) -> Path:
    """For root alone, and before the first container: those without an image are not to see it (`find_private`)."""
    directory = ROOT / mesh
    with suppress(OSError):  # whoever runs an image is told then
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory


def remove_writable(mesh: str) -> bool:
    """False if there was nothing."""
    directory = ROOT / mesh
    if not directory.exists():
        return False
    shutil.rmtree(directory, ignore_errors=True)
    with suppress(OSError):
        ROOT.rmdir()  # unless another mesh has something there
    return True


async def sweep_images(mesh: str) -> tuple[str, ...]:
    """Of a dead mesh: what its containers changed, and that podman keeps images for it."""
    if not remove_writable(mesh):
        return ()
    with suppress(MachineError):  # somebody has removed podman since
        await podman.let_all_go(mesh)
    return (f"directory {ROOT / mesh}",)
