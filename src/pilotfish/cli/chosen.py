"""Which objects a command that changes or deletes them means: by name, by labels, or all of a kind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import click

from pilotfish.cli.failure import Failure
from pilotfish.cli.get import parse_words
from pilotfish.cli.kinds import READ_ONLY
from pilotfish.cli.listing import Item, Selection, list_objects
from pilotfish.cli.selector import parse_selector
from pilotfish.cli.session import Session
from pilotfish.model import Kind, ObjectRef


@dataclass(frozen=True, slots=True)
class Chosen:
    ref: ObjectRef
    item: Item


def check_words(words: tuple[str, ...], selector: str, every: bool) -> list[tuple[Kind, tuple[str, ...]]]:
    """As `parse_words`. Raises click.UsageError unless there are either names, or labels, or `every`."""
    wanted = parse_words(words)
    for kind, names in wanted:
        if bool(names) == bool(every or selector) or (every and selector):
            raise click.UsageError(f"say which of the {kind.plural}: either names, or --selector, or --all")
    return wanted


def choose(
    session: Session,
    wanted: list[tuple[Kind, tuple[str, ...]]],
    selector: str = "",
    namespace: str | None = None,
    why: str = "can't be changed",
) -> Iterator[Chosen]:
    """Of one namespace, or with None of all. Raises Failure for a name that is not there, and for a kind that nobody
    changes."""
    labels = parse_selector(selector)
    for kind, names in wanted:
        if kind in READ_ONLY and (names or len(wanted) == 1):
            raise Failure(f"{kind.plural} {why}: the mesh makes them; 'pilotfish down' takes a mesh down")
        if kind in READ_ONLY:
            continue  # of `all`
        listing = list_objects(session, Selection(kind, names, namespace, labels, drawn=False))
        if listing.missing:
            raise listing.missing[0]
        yield from (Chosen(kind.ref(item.namespace, item.name), item) for item in listing.items)
