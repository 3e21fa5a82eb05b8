"""`pilotfish down`."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from pathlib import Path

import click

from pilotfish.cli.failure import Failure
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import machine_option
from pilotfish.cli.session import on_this_machine, require_root, root
from pilotfish.runtime.control.client import Client, Overdue, Unreachable, find_meshes, is_alive
from pilotfish.runtime.control.views import MeshView

_ANSWER = 5.0
"""Seconds that a mesh's process may take to answer at all: whoever does nothing else does so within a tenth of one."""
_TEARDOWN = 60.0
"""Seconds that it may take for all of it: more than its pods get."""
_EXIT = 10.0
"""Seconds that it may take to end once it has taken all down; and that a killed one may."""


@click.command("down")
@machine_option
@click.option("--all", "every", is_flag=True, help="All meshes of this machine.")
@click.pass_context
def command(ctx: click.Context, mesh: Meant, every: bool) -> None:
    """Take a mesh down: pods first, with draining, then its network.

    What a mesh left whose process was killed is removed in any case, and named. A mesh whose process hangs is killed.
    """
    name = on_this_machine(ctx).name
    require_root("a mesh is made of network namespaces, links and netfilter rules")
    if name and every:
        raise click.UsageError("--all takes down every mesh: leave --name out")
    state = root()
    alive = tuple(each for each in find_meshes(state) if is_alive(each))
    chosen = _choose(alive, name, every)
    removed = _sweep_dead(state, name)
    for each in chosen:
        _stop(each)
        _sweep_dead(state, each.name)  # what it left if it was killed, or its tear-down failed
        click.echo(f"mesh {each.name} is down")
    if not chosen and not removed:
        if name:
            raise Failure(f'no mesh named "{name}" is running, and none left anything behind')
        click.echo("no mesh is running, and none left anything behind", err=True)


def _choose(alive: tuple[MeshView, ...], name: str | None, every: bool) -> tuple[MeshView, ...]:
    if name is not None:
        return tuple(mesh for mesh in alive if mesh.name == name)
    if len(alive) > 1 and not every:
        names = ", ".join(mesh.name for mesh in alive)
        raise Failure(f"{len(alive)} meshes are running ({names}); say which one with --name, or --all")
    return alive


def _stop(mesh: MeshView) -> None:
    """Returns when its process has ended, as it was told or by force."""
    try:
        process = os.pidfd_open(mesh.pid)
    except ProcessLookupError:
        return
    try:
        why = _ask(mesh, process)
        if not why:
            return
        click.echo(f"mesh {mesh.name} {why}: its process {mesh.pid} is killed", err=True)
        signal.pidfd_send_signal(process, signal.SIGKILL)
        if not _ends(process, _EXIT):
            raise Failure(
                f"process {mesh.pid} of mesh {mesh.name} was killed, and the kernel does not let it go: it waits for a "
                f"device or a file system; run 'pilotfish down --name {mesh.name}' again when that answers"
            )
    finally:
        os.close(process)


def _ask(mesh: MeshView, process: int) -> str:
    """Has it take itself down, and waits for its end. Returns what it did not do in time, if anything."""
    client = Client(mesh.directory)
    try:
        client.events(timeout=_ANSWER)
        client.down(timeout=_TEARDOWN)
    except Overdue as error:
        return f"did not {'answer' if error.timeout == _ANSWER else 'end'} within {error.timeout:g} s"
    except Unreachable:
        # It is just starting, or ending, or its socket was removed.
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGTERM)
        return "" if _ends(process, _TEARDOWN) else f"did not end within {_TEARDOWN:g} s"
    return "" if _ends(process, _EXIT) else f"did not end within {_EXIT:g} s of having taken all down"


def _ends(process: int, within: float) -> bool:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    return bool(poll.poll(within * 1000))


def _sweep_dead(state: Path, name: str | None) -> bool:
    """Removes what dead meshes left: the one called `name`, or all. True if there was anything."""
    from pilotfish.runtime.node import sweep

    removed = sweep(state, name)
    for mesh, lines in removed.items():
        click.echo(f"mesh {mesh} was dead; removed what it left:")
        click.echo("".join(f"  {line}\n" for line in lines), nl=False)
    return bool(removed)
