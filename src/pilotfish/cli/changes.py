"""Printing what a change did: kubectl's lines on standard output, Problems on standard error, 1 if any was refused."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click

from pilotfish.cli.places import near
from pilotfish.cli.render.problems import render_problem
from pilotfish.model.kinds import kind_named
from pilotfish.runtime.control.views import ChangesView, ChangeView


def print_changes(views: Iterable[ChangesView], missing_ok: bool = False) -> None:
    """Exits with 1 if any object was refused, or was not there (unless `missing_ok`)."""
    failed = False
    for view in views:
        for change in view.changes:
            if text := render_change(change):
                click.echo(text)
            elif change.action == "notfound" and not missing_ok:
                failed = True
                click.echo(f"error: {_not_found(change)}", err=True)
            elif change.action == "refused" and not view.problems:
                click.echo(f'error: {_kind(change)} "{change.name}" was refused, and is as it was', err=True)
            failed = failed or change.action == "refused"
        for problem in view.problems:
            failed = failed or problem.severity == "error"
            click.echo(render_problem(near(problem)), err=True)
    if failed:
        sys.exit(1)


def render_change(change: ChangeView) -> str:
    """`configmap/x configured`, `pod "x" deleted`; "" for what was not done."""
    if change.action in ("notfound", "refused"):
        return ""
    if change.action == "deleted":
        return f'{_kind(change)} "{change.name}" deleted'
    return f"{_kind(change)}/{change.name} {change.action}"


def _not_found(change: ChangeView) -> str:
    place = f' in namespace "{change.namespace}"' if change.namespace else ""
    return f'{_kind(change)} "{change.name}" not found{place}'


def _kind(change: ChangeView) -> str:
    return kind_named(change.kind, change.group).qualified
