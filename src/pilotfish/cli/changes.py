"""Printing what a change did: kubectl's lines on standard output, Problems on standard error, 1 if any was refused."""

from __future__ import annotations

import sys
from collections.abc import Iterable

import click

from pilotfish.cli.places import near
from pilotfish.cli.render.problems import render_problem
from pilotfish.model.kinds import kind_named
from pilotfish.runtime.control.views import ChangesView, ChangeView, ProblemView


def print_changes(views: Iterable[ChangesView], missing_ok: bool = False) -> None:
    """Exits with 1 if any object was refused, or was not there (unless `missing_ok`)."""
    if not show_changes(views, missing_ok):
        sys.exit(1)


def show_changes(views: Iterable[ChangesView], missing_ok: bool = False) -> bool:
    """As `print_changes`; false where that exits."""
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
        failed = not show_problems(view.problems) or failed
    return not failed


def print_patched(view: ChangesView, done: str) -> bool:
    """`deployment.apps/web patched`, or that nothing had to be; false if it was refused."""
    for change in view.changes:
        if change.action == "unchanged":
            click.echo(f"{_kind(change)}/{change.name} not changed: it is so already")
        elif change.action != "refused":
            click.echo(f"{_kind(change)}/{change.name} {done}")
    fine = show_problems(view.problems)
    return fine and not any(change.action == "refused" for change in view.changes)


def show_problems(problems: Iterable[ProblemView]) -> bool:
    """False if one of them is an error."""
    fine = True
    for problem in problems:
        fine = fine and problem.severity != "error"
        click.echo(render_problem(near(problem)), err=True)
    return fine


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
