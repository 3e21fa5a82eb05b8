"""A program that makes a user namespace, and becomes another in it: UID PROGRAM ARGUMENT...

A process of its own, as one with threads may not leave its user namespace (unshare(2)).
"""

from __future__ import annotations

import os
from typing import NoReturn

from pilotfish.runtime.linux import syscalls


def main(arguments: list[str]) -> NoReturn:
    """Says one byte when UID has made the namespace, and becomes the program when it hears one: by then the users and
    groups there are known.

    UID keeps root's capabilities: there are kernels that let nobody else make one who could do anything in it.
    """
    try:
        os.setresuid(0, int(arguments[0]), 0)
        syscalls.capset(syscalls.permitted(), 0)
        syscalls.unshare(syscalls.CLONE_NEWUSER)
    except OSError as error:
        raise SystemExit(error.strerror) from None
    os.write(1, b"\n")
    os.read(0, 1)
    os.setresuid(0, 0, 0)
    os.execvp(arguments[1], arguments[1:])
