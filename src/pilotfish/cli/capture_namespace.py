"""Which network namespace `pilotfish capture` is about."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pilotfish.cli.failure import Failure

if TYPE_CHECKING:
    from pilotfish.runtime.linux.netns import NetNs

F = TypeVar("F", bound=Callable[..., Any])


def namespace_options(function: F) -> F:
    text = "The network namespace, as `ip netns` names it. Default: this one."
    netns = click.option("--netns", metavar="NAME|PATH", help=text)
    return netns(
        click.option("--pid", type=int, metavar="PID", help="The network namespace of this process.")(function)
    )


def find_namespace(netns: str | None, pid: int | None) -> NetNs:
    from pilotfish.runtime.linux.netns import NetNs

    if netns is not None and pid is not None:
        raise click.UsageError("--netns NAME|PATH and --pid PID each say which network namespace: give one of them")
    if os.geteuid() != 0:
        raise Failure("packet-filter rules need root: run it with sudo")
    if pid is not None:
        return NetNs(Path(f"/proc/{pid}/ns/net"))
    if netns is None:
        return NetNs.current()
    return NetNs(Path(netns)) if "/" in netns else NetNs.named(netns)
