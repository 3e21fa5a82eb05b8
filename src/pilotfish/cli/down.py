"""`pilotfish down`."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from pathlib import Path

import click

from pilotfish.cli.failure import Failure
from pilotfish.cli.options import mesh_option
from pilotfish.cli.session import require_root, root
from pilotfish.runtime.control.client import Client, Unreachable, find_meshes, is_alive
from pilotfish.runtime.control.views import MeshView

_EXIT = 10.0
"""Seconds that a mesh's process may take to end once it has taken all down."""
_TEARDOWN = 60.0
"""Seconds that it may take for all of it: more than its pods get."""


@click.command("down")
@mesh_option
@click.option("--all", "every", is_flag=True, help="All meshes of this machine.")
@click.pass_context
def command(ctx: click.Context, mesh: str | None, every: bool) -> None:
    """Take a mesh down: pods first, with draining, then its network.

    What a mesh left whose process was killed is removed in any case, and named.
    """
    require_root("a mesh is made of network namespaces, links and netfilter rules")
    name = mesh or (ctx.obj if isinstance(ctx.obj, str) else None)
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
    """Returns when nothing of it is left, its process neither."""
    try:
        process = os.pidfd_open(mesh.pid)
    except ProcessLookupError:
        return
    try:
        patience = _ask(mesh, process)
        poll = select.poll()
        poll.register(process, select.POLLIN)
        if not poll.poll(patience * 1000):
            raise Failure(
                f"mesh {mesh.name} was told to end, but its process {mesh.pid} goes on; "
                f"end it with 'kill -9 {mesh.pid}', then run 'pilotfish down --name {mesh.name}' again"
            )
    finally:
        os.close(process)


def _ask(mesh: MeshView, process: int) -> float:
    """Has it take itself down; returns how many seconds its process may then take to end."""
    try:
        Client(mesh.directory).down()
    except Unreachable:
        # It is just starting, or ending, or its socket was removed.
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGTERM)
        return _TEARDOWN
    return _EXIT


def _sweep_dead(state: Path, name: str | None) -> bool:
    """Removes what dead meshes left: the one called `name`, or all. True if there was anything."""
    from pilotfish.runtime.node import sweep

    removed = sweep(state, name)
    for mesh, lines in removed.items():
        click.echo(f"mesh {mesh} was dead; removed what it left:")
        click.echo("".join(f"  {line}\n" for line in lines), nl=False)
    return bool(removed)
