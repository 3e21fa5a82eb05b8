"""What `label` and `annotate` have in common: KEY=VALUE sets, KEY- removes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from pilotfish.cli import complete
from pilotfish.cli.changes import print_patched
from pilotfish.cli.chosen import Chosen, check_words, choose
from pilotfish.cli.failure import Failure
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import machine_option, namespace_option, selector_option
from pilotfish.cli.render.objects import at
from pilotfish.cli.session import open_session

F = TypeVar("F", bound=Callable[..., Any])


def metadata_options(function: F) -> F:
    parts: tuple[Callable[[F], F], ...] = (
        click.argument(
            "words",
            metavar="KIND NAME... | KIND/NAME... KEY=VALUE... KEY-...",
            nargs=-1,
            required=True,
            shell_complete=complete.names,
        ),
        click.option("--overwrite", is_flag=True, help="Change a value that is there."),
        click.option("--all", "every", is_flag=True, help="All objects of the kind."),
        click.option("--list", "listed", is_flag=True, help="Print what there is then."),
        selector_option,
        namespace_option,
        machine_option,
    )
    for part in reversed(parts):
        function = part(function)
    return function


def change_metadata(
    field: str,
    done: str,
    words: tuple[str, ...],
    overwrite: bool,
    every: bool,
    listed: bool,
    selector: str,
    namespace: str | None,
    mesh: Meant,
) -> None:
    """`field` is `labels` or `annotations`; `done` is what is said of each object."""
    objects, changes = _split(words)
    if not changes and not listed:
        raise click.UsageError("say what to set, as KEY=VALUE, or what to remove, as KEY-")
    wanted = check_words(objects, selector, every)
    session = open_session(mesh, namespace)
    chosen = list(choose(session, wanted, selector, session.namespace))
    if not overwrite:
        for each in chosen:
            _check_free(field, each, changes)
    fine = True
    for each in chosen:
        if changes:
            view = session.client.patch(each.ref, {"metadata": {field: changes}})
            fine = print_patched(view, done) and fine
        if listed:
            now = {**_now(field, each), **changes}
            click.echo("".join(f"{key}={value}\n" for key, value in sorted(now.items()) if value is not None), nl=False)
    if not chosen:
        raise Failure("no resources found")
    if not fine:
        raise click.exceptions.Exit(1)


def _split(words: Iterable[str]) -> tuple[tuple[str, ...], dict[str, str | None]]:
    """What names objects, and then what is to be changed. A name has no `=`, and ends with no `-`."""
    objects, changes = [], dict[str, str | None]()
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key:
            changes[key] = value
        elif word.endswith("-") and len(word) > 1:
            changes[word[:-1]] = None
        elif changes:
            raise click.UsageError(f"{word} is neither KEY=VALUE nor KEY-")
        else:
            objects.append(word)
    return tuple(objects), changes


def _now(field: str, chosen: Chosen) -> dict[str, Any]:
    found = at(chosen.item.value, "metadata", field)
    return dict(found) if isinstance(found, dict) else {}


def _check_free(field: str, chosen: Chosen, changes: dict[str, str | None]) -> None:
    now = _now(field, chosen)
    for key, value in changes.items():
        if value is not None and now.get(key, value) != value:
            raise Failure(f"{chosen.ref} has {key}={now[key]} already; --overwrite changes it")
