"""`pilotfish rollout`."""

from __future__ import annotations

import sys
import time

import click

from pilotfish.cli import complete
from pilotfish.cli.changes import print_changes
from pilotfish.cli.deployment import find_deployment, join_words
from pilotfish.cli.duration import parse_duration
from pilotfish.cli.failure import Failure
from pilotfish.cli.options import keep_mesh, mesh_option, namespace_option
from pilotfish.cli.session import open_session
from pilotfish.runtime.control.client import Client

_WAIT = 30.0
"""Seconds for which one question stays open; the next follows at once."""


@click.group("rollout")
@mesh_option
@click.pass_context
def command(ctx: click.Context, mesh: str | None) -> None:
    """Watch or restart a Deployment's rollout."""
    keep_mesh(ctx, mesh)


@command.command("status")
@click.argument("words", metavar="deploy/NAME", nargs=-1, required=True, shell_complete=complete.deployments)
@click.option("-w", "--watch/--no-watch", default=True, show_default=True, help="Wait until it is done.")
@click.option(
    "--timeout", type=parse_duration, default=0, metavar="DURATION", help="Give up after that long. 0: never."
)
@namespace_option
@mesh_option
def status(words: tuple[str, ...], watch: bool, timeout: float, namespace: str | None, mesh: str | None) -> None:
    """Say how far a rollout is, until it is done."""
    target = join_words(words)
    session = open_session(mesh, namespace)
    place, name = find_deployment(session, target)
    _follow(session.client, place, name, watch, time.monotonic() + timeout if timeout else None)


@command.command("restart")
@click.argument("words", metavar="deploy/NAME", nargs=-1, required=True, shell_complete=complete.deployments)
@namespace_option
@mesh_option
def restart(words: tuple[str, ...], namespace: str | None, mesh: str | None) -> None:
    """Replace all of a Deployment's pods, a few at a time."""
    target = join_words(words)
    session = open_session(mesh, namespace)
    place, name = find_deployment(session, target)
    print_changes([session.client.restart(place, name)])


def _follow(client: Client, namespace: str, name: str, watch: bool, deadline: float | None) -> None:
    said, wait = "", 0.0
    while True:
        view = client.rollout(namespace, name, said, wait)
        if view.failed:
            raise Failure(f"{view.message}; it may still come to its end: 'pilotfish get pods' shows what it waits for")
        if view.message != said:
            click.echo(view.message)
            sys.stdout.flush()
        if view.done or not watch:
            return
        said = view.message
        wait = _WAIT if deadline is None else min(_WAIT, deadline - time.monotonic())
        if wait <= 0:
            raise Failure(f"timed out waiting for deployment {name}.{namespace}; it goes on: 'pilotfish get pods'")
