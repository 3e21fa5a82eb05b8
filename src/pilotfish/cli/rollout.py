"""`pilotfish rollout`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from pilotfish.cli import complete
from pilotfish.cli.changes import print_changes, print_patched
from pilotfish.cli.duration import parse_duration
from pilotfish.cli.failure import Failure
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import machine_option, namespace_option
from pilotfish.cli.render.documents import render_document
from pilotfish.cli.render.objects import Unstructured, age_of, at, name_of, owners_of
from pilotfish.cli.render.table import table
from pilotfish.cli.session import Session, open_session
from pilotfish.cli.workload import find_workload, join_words
from pilotfish.model import Kind, ObjectRef
from pilotfish.model.kinds import DEPLOYMENT, REPLICA_SET, ROLLED
from pilotfish.runtime.control.client import Client

F = TypeVar("F", bound=Callable[..., Any])

_REVISION = ("metadata", "annotations", "deployment.kubernetes.io/revision")
_WAIT = 30.0
"""Seconds for which one question stays open; the next follows at once."""


@click.group("rollout")
@machine_option
def command(mesh: Meant) -> None:
    """Watch a rollout, restart it, hold it, or go back."""


def _options(metavar: str, completer: complete.Completer) -> Callable[[F], F]:
    def add(function: F) -> F:
        argument = click.argument("words", metavar=metavar, nargs=-1, required=True, shell_complete=completer)
        return argument(namespace_option(machine_option(function)))

    return add


_rolled_options = _options("KIND/NAME", complete.rolled)
_deployment_options = _options("deploy/NAME", complete.deployments)


@command.command("status")
@_rolled_options
@click.option("-w", "--watch/--no-watch", default=True, show_default=True, help="Wait until it is done.")
@click.option(
    "--timeout", type=parse_duration, default=0, metavar="DURATION", help="Give up after that long. 0: never."
)
def status(words: tuple[str, ...], watch: bool, timeout: float, namespace: str | None, mesh: Meant) -> None:
    """Say how far a rollout is, until it is done."""
    session, ref = _open(words, namespace, mesh, ROLLED)
    _follow(session.client, ref, watch, time.monotonic() + timeout if timeout else None)


@command.command("restart")
@_rolled_options
def restart(words: tuple[str, ...], namespace: str | None, mesh: Meant) -> None:
    """Replace all pods, a few at a time."""
    session, ref = _open(words, namespace, mesh, ROLLED)
    print_changes([session.client.restart(ref)])


@command.command("pause")
@_deployment_options
def pause(words: tuple[str, ...], namespace: str | None, mesh: Meant) -> None:
    """Hold it: a changed template makes no new pods until it is resumed."""
    _pause(words, namespace, mesh, True)


@command.command("resume")
@_deployment_options
def resume(words: tuple[str, ...], namespace: str | None, mesh: Meant) -> None:
    """Let a paused one go on."""
    _pause(words, namespace, mesh, False)


@command.command("history")
@_deployment_options
@click.option("--revision", type=int, default=0, metavar="N", help="Print this one's pod template.")
def history(words: tuple[str, ...], revision: int, namespace: str | None, mesh: Meant) -> None:
    """List the templates that it had, as far as they are kept (revisionHistoryLimit)."""
    session, ref = _open(words, namespace, mesh)
    sets = _replica_sets(session, ref)
    if revision:
        click.echo(render_document(at(_find(sets, revision, ref), "spec", "template"), "yaml"), nl=False)
        return
    now = time.time()
    rows = [
        (str(number), f"{at(each, 'status', 'replicas')}", str(name_of(each)), age_of(each, now))
        for number, each in sorted(sets.items())
    ]
    click.echo(f"{ref.kind.qualified}/{ref.name}")
    click.echo(table(("REVISION", "PODS", "REPLICASET", "AGE"), rows).text(), nl=False)


@command.command("undo")
@_deployment_options
@click.option("--to-revision", type=int, default=0, metavar="N", help="Default: the one before the current.")
def undo(words: tuple[str, ...], to_revision: int, namespace: str | None, mesh: Meant) -> None:
    """Go back to an earlier template."""
    session, ref = _open(words, namespace, mesh)
    found = session.client.objects(ref.kind, ref.namespace, ref.name)
    if found and at(found[0], "spec", "paused"):
        raise Failure(f"{ref} is paused, so it can't go back; 'rollout resume' it first")
    sets = _replica_sets(session, ref)
    if not to_revision and len(sets) < 2:
        raise Failure(f"{ref} has no rollout history to go back to")
    chosen = _find(sets, to_revision or sorted(sets)[-2], ref)
    change = [{"op": "replace", "path": "/spec/template", "value": at(chosen, "spec", "template")}]
    if not print_patched(session.client.patch(ref, change, "json"), "rolled back"):
        sys.exit(1)


def _pause(words: tuple[str, ...], namespace: str | None, mesh: Meant, paused: bool) -> None:
    session, ref = _open(words, namespace, mesh)
    done = "paused" if paused else "resumed"
    for found in session.client.objects(ref.kind, ref.namespace, ref.name):
        if bool(at(found, "spec", "paused")) is paused:
            raise Failure(f'{ref.kind.qualified_plural} "{ref.name}" is {"already" if paused else "not"} paused')
    if not print_patched(session.client.patch(ref, {"spec": {"paused": True if paused else None}}), done):
        sys.exit(1)


def _open(
    words: tuple[str, ...], namespace: str | None, mesh: Meant, kinds: Sequence[Kind] = (DEPLOYMENT,)
) -> tuple[Session, ObjectRef]:
    target = join_words(words)
    session = open_session(mesh, namespace)
    return session, find_workload(session, target, kinds)


def _replica_sets(session: Session, ref: ObjectRef) -> dict[int, Unstructured]:
    """By revision. Raises Failure where there is no such Deployment."""
    if not session.client.objects(ref.kind, ref.namespace, ref.name):
        raise Failure(f'{ref.kind.qualified_plural} "{ref.name}" not found in namespace "{ref.namespace}"')
    found = session.client.objects(REPLICA_SET, ref.namespace)
    return {int(str(at(each, *_REVISION))): each for each in found if ref.name in owners_of(each)}


def _find(sets: dict[int, Unstructured], revision: int, ref: ObjectRef) -> Unstructured:
    if revision not in sets:
        raise Failure(f"{ref} has no revision {revision}; it has: {', '.join(map(str, sorted(sets)))}")
    return sets[revision]


def _follow(client: Client, ref: ObjectRef, watch: bool, deadline: float | None) -> None:
    said, wait = "", 0.0
    while True:
        view = client.rollout(ref, said, wait)
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
            name = f"{ref.kind.name.lower()} {ref.name}.{ref.namespace}"
            raise Failure(f"timed out waiting for {name}; it goes on: 'pilotfish get pods'")
