"""`pilotfish up`: makes and keeps a mesh on this machine.

    ObjectSource ─▶ Store ─reconciler─▶ pods ─▶ namespaces, processes, Envoys
                        └───────▶ config/objects.json ─▶ discovery

    control.sock ─▶ operations ─▶ Store          status ─▶ the command line

`run(options, on_progress)` works in the foreground until SIGINT, SIGTERM or `down`, and returns the exit code;
`detach(options, on_progress)` starts the same in the background and returns when all is ready.
"""

from __future__ import annotations

from pathlib import Path

from pilotfish.runtime.node.options import CannotStart, OnProgress, ProgressLine, UpOptions

__all__ = ["CannotStart", "OnProgress", "ProgressLine", "UpOptions", "detach", "run", "sweep"]


def run(options: UpOptions, on_progress: OnProgress, stdin: str | None = None) -> int:
    """Until SIGINT, SIGTERM or `down`; 0 then. CannotStart if it can't begin, with nothing left behind.

    `stdin` is the text of the source `-`; read here if it is None. `on_progress` is called in this thread.
    """
    from pilotfish.runtime.node import up

    return up.run(options, on_progress, stdin)


def detach(options: UpOptions, on_progress: OnProgress, stdin: str | None = None) -> int:
    """0 when all is ready; 1, with the reasons as lines of progress, if `ready_timeout` passes first: the mesh stays.

    CannotStart if it can't begin; then nothing is left behind.
    """
    from pilotfish.runtime.node import background

    return background.detach(options, on_progress, stdin)


def sweep(root: Path, name: str | None = None) -> dict[str, tuple[str, ...]]:
    """Removes what dead meshes under `root` left (only `name`, if given): mesh → what was removed."""
    import asyncio

    from pilotfish.runtime.node import claim

    return asyncio.run(claim.sweep_dead(root, name))
