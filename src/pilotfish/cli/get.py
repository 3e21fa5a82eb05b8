"""`pilotfish get`."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

from pilotfish.cli import complete
from pilotfish.cli.failure import line
from pilotfish.cli.kinds import MESH, OWN, find_kind
from pilotfish.cli.listing import Listing, Selection, list_meshes, list_objects
from pilotfish.cli.options import mesh_option, namespace_option, output_option
from pilotfish.cli.render.documents import Format, as_list, render_document
from pilotfish.cli.selector import parse_selector
from pilotfish.cli.session import Session, open_session
from pilotfish.model import Kind


@click.command("get")
@click.argument("words", metavar="KIND[,KIND] [NAME]... | KIND/NAME...", nargs=-1, shell_complete=complete.names)
@namespace_option
@click.option("-A", "--all-namespaces", is_flag=True, help="Objects of all namespaces.")
@click.option("-l", "--selector", default="", metavar="LABELS", help="Only those with these labels: a=b,c!=d,e,!f.")
@click.option("-w", "--watch", is_flag=True, help="Then print each row that changes.")
@click.option("--no-headers", is_flag=True, help="Leave the header line out.")
@output_option("wide", "json", "yaml", "name")
@mesh_option
def command(
    words: tuple[str, ...],
    namespace: str | None,
    all_namespaces: bool,
    selector: str,
    watch: bool,
    no_headers: bool,
    output: str | None,
    mesh: str | None,
) -> None:
    """List pods, services, deployments, proxies, meshes, problems, or any stored kind (vs, dr, se, cm, ...)."""
    wanted = parse_words(words)
    if watch and (len(wanted) > 1 or output not in (None, "wide") or wanted[0][0] is MESH):
        raise click.UsageError("--watch shows one kind, and no meshes, as a table: leave -o json, yaml and name out")
    if [kind for kind, _ in wanted] == [MESH]:
        _print([list_meshes(Selection(*wanted[0], wide=output == "wide"))], output, no_headers)
        return
    session = open_session(mesh, namespace)
    labels = parse_selector(selector)
    selections = [
        Selection(kind, names, _namespace(session, kind, all_namespaces, namespace), labels, output == "wide")
        for kind, names in wanted
    ]
    # Asked before the list is read, so that no change between the two is missed.
    seen = session.client.events() if watch else 0
    listings = [_list(session, selection, output in ("json", "yaml", "name")) for selection in selections]
    _print(listings, output, no_headers)
    if watch:
        _watch(session, selections[0], seen, listings[0])


def parse_words(words: tuple[str, ...]) -> list[tuple[Kind, tuple[str, ...]]]:
    """`pods,svc`, `pods a b`, `pod/a svc/b` → each kind with the names asked of it."""
    if not words:
        raise click.UsageError("say what to get, as in 'pilotfish get pods'")
    if any("/" in word for word in words):
        return list(_slashed(words))
    names = words[1:]
    kinds = [find_kind(word) for word in words[0].split(",") if word]
    if len(kinds) != 1 and (names or not kinds):
        raise click.UsageError("names belong to one kind; use KIND/NAME for several")
    return [(kind, names) for kind in kinds]


def _slashed(words: tuple[str, ...]) -> Iterator[tuple[Kind, tuple[str, ...]]]:
    for word in words:
        kind, slash, name = word.partition("/")
        if not slash or not name:
            raise click.UsageError(f"{word}: every argument is KIND/NAME where one is")
        yield find_kind(kind), (name,)


def _namespace(session: Session, kind: Kind, everywhere: bool, asked: str | None) -> str | None:
    """Proxies and problems name their namespace anyway, so all of them are shown unless one was asked for."""
    return asked if kind in OWN else None if everywhere else session.namespace


def _list(session: Session, selection: Selection, documents_wanted: bool) -> Listing:
    return list_meshes(selection) if selection.kind is MESH else list_objects(session, selection, documents_wanted)


def _print(listings: list[Listing], output: str | None, no_headers: bool) -> None:
    """What was found, then failure if anything asked for by name was not."""
    missing = [failure for listing in listings for failure in listing.missing]
    if output == "json" or output == "yaml":
        _print_documents(listings, "json" if output == "json" else "yaml", bool(missing))
    elif output == "name":
        for listing in listings:
            click.echo("".join(f"{listing.kind.qualified}/{title}\n" for title in listing.titles), nl=False)
    else:
        _print_tables(listings, no_headers, bool(missing))
    for failure in missing[:-1]:
        click.echo(line(failure), err=True)
    if missing:
        raise missing[-1]


def _print_documents(listings: list[Listing], output: Format, missing: bool) -> None:
    """One object that was asked for by its name stands alone; everything else is a List."""
    documents = [document for listing in listings for document in listing.documents]
    if missing and not documents:
        return
    alone = len(documents) == len(listings) == 1 and listings[0].named
    click.echo(render_document(documents[0] if alone else as_list(documents), output), nl=False)


def _print_tables(listings: list[Listing], no_headers: bool, missing: bool) -> None:
    now = time.time()
    filled = [listing for listing in listings if listing.titles]
    for position, listing in enumerate(filled):
        click.echo(("\n" if position else "") + listing.draw(now).text(header=not no_headers), nl=False)
    if not filled and not missing:
        own = [listing.kind.plural for listing in listings if listing.kind in OWN]
        click.echo(f"No {own[0] if own else 'resources'} found.", err=True)


def _watch(session: Session, selection: Selection, seen: int, first: Listing) -> None:
    """Prints a row when it is new, or differs in more than its ages. Ends with Ctrl-C."""
    shown = set(first.draw(0).rows)
    while True:
        seen = session.client.events(since=seen, wait=30)
        listing = _list(session, selection, False)
        # As of the epoch all ages are the same, so that rows can be compared.
        stable, current = listing.draw(0), listing.draw(time.time())
        lines = current.text().splitlines()[1:]
        for line_of_row, plain in zip(lines, stable.rows, strict=True):
            if plain not in shown:
                click.echo(line_of_row)
        shown = set(stable.rows)
