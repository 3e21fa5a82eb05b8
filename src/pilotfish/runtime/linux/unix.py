"""Unix sockets by path."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def bind(path: Path, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """A socket at `path`, in place of what is there, for its owner alone (0600). Raises OSError.

    A socket's path holds 107 bytes (unix(7)); a longer one is reached through its open directory.
    """
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    made = socket.socket(socket.AF_UNIX, kind)
    mask = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        made.bind(f"/proc/self/fd/{directory}/{path.name}")
    except BaseException:
        made.close()
        raise
    finally:
        os.umask(mask)
        os.close(directory)
    return made
