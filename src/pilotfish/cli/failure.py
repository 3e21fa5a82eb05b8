"""How a command fails: one line on standard error, `error: ...`, and exit code 1 (2 for wrong arguments)."""

from __future__ import annotations

import click


class Failure(click.ClickException):
    """An expected failure. The message names what was meant, the consequence and the remedy, on one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def line(error: click.ClickException) -> str:
    """What is printed for it."""
    message = error.format_message()
    if isinstance(error, click.UsageError):
        # click's own sentences begin with a capital and end with a full stop.
        message = message[:1].lower() + message[1:].rstrip(".")
        message += f"; see '{error.ctx.command_path} --help'" if error.ctx else ""
    return f"error: {message}"


def expected(error: Exception) -> Failure | None:
    """What the mesh or the machine refused, as a Failure; None for anything else, which is a bug."""
    # Imported here: only a command that failed pays for it.
    from pilotfish.runtime.control.client import Refused, Unreachable
    from pilotfish.runtime.errors import MachineError
    from pilotfish.runtime.node.options import CannotStart

    if isinstance(error, Unreachable) and isinstance(error.__cause__, PermissionError):
        return Failure("this needs root, because a mesh answers only to root: run it with sudo")
    if isinstance(error, Unreachable):
        return Failure(f"{error}; 'pilotfish down' removes a mesh whose process is gone")
    if isinstance(error, PermissionError):
        return Failure(f"{error.filename}: {error.strerror}: this needs root, run it with sudo")
    return Failure(str(error)) if isinstance(error, (Refused, MachineError, CannotStart)) else None
