"""`pilotfish get`."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import click

from pilotfish.cli import complete
from pilotfish.cli.failure import line
from pilotfish.cli.kinds import MESH, OWN, find_kind, find_kinds
from pilotfish.cli.listing import Listing, Selection, list_meshes, list_objects, list_own
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import mesh_option, namespace_option, selector_option
from pilotfish.cli.output import Output, objects_output_option
from pilotfish.cli.render.documents import render_document
from pilotfish.cli.render.table import Table
from pilotfish.cli.selector import parse_fields, parse_selector
from pilotfish.cli.session import open_reader, open_session
from pilotfish.model import Kind

if TYPE_CHECKING:
    from pilotfish.cli.jsonpath import Path


@dataclass(frozen=True, slots=True)
class _Printer:
    """How what was found is printed."""

    output: Output
    no_headers: bool
    labels: tuple[str, ...]
    all_labels: bool

    def table(self, listing: Listing, now: float, prefix: bool = False) -> Table:
        if self.output.columns:
            return self.output.custom(listing.documents)
        return listing.table(now, prefix, self.labels, self.all_labels)

    def print(self, listings: list[Listing]) -> None:
        """What was found, then failure if anything asked for by name was not."""
        missing = [failure for listing in listings for failure in listing.missing]
        if self.output.is_table:
            self._print_tables(listings, bool(missing))
        elif self.output.form == "name":
            click.echo("".join(f"{title}\n" for listing in listings for title in _titles(listing)), nl=False)
        else:
            self._print_documents(listings, bool(missing))
        for failure in missing[:-1]:
            click.echo(line(failure), err=True)
        if missing:
            raise missing[-1]

    def _print_documents(self, listings: list[Listing], missing: bool) -> None:
        """One object that was asked for by its name stands alone; everything else is a List."""
        documents = [document for listing in listings for document in listing.documents]
        if missing and not documents:
            return
        alone = len(documents) == len(listings) == 1 and bool(listings[0].selection.names)
        click.echo(self.output.render(documents, alone), nl=False)

    def _print_tables(self, listings: list[Listing], missing: bool) -> None:
        now = time.time()
        filled = [listing for listing in listings if listing.items]
        for position, listing in enumerate(filled):
            shown = self.table(listing, now, prefix=len(listings) > 1)
            click.echo(("\n" if position else "") + shown.text(header=not self.no_headers), nl=False)
        if not filled and not missing:
            own = [listing.kind.plural for listing in listings if listing.kind in OWN]
            click.echo(f"No {own[0] if own else 'resources'} found.", err=True)


@click.command("get")
@click.argument("words", metavar="KIND[,KIND] [NAME]... | KIND/NAME...", nargs=-1, shell_complete=complete.names)
@namespace_option
@click.option("-A", "--all-namespaces", is_flag=True, help="Objects of all namespaces.")
@selector_option
@click.option(
    "--field-selector", default="", metavar="FIELDS", help="Only those with these fields: status.phase!=Running."
)
@click.option("-w", "--watch", is_flag=True, help="Then print each object that changes.")
@click.option("--sort-by", metavar="JSONPATH", default="", help="In this order, as .metadata.creationTimestamp.")
@click.option("--show-labels", is_flag=True, help="A last column with all labels.")
@click.option("-L", "--label-columns", multiple=True, metavar="LABEL", help="A column with the value of this label.")
@click.option("--no-headers", is_flag=True, help="Leave the header line out.")
@click.option("--ignore-not-found", is_flag=True, help="An object that is not there is no error.")
@objects_output_option
@mesh_option
def command(
    words: tuple[str, ...],
    namespace: str | None,
    all_namespaces: bool,
    selector: str,
    field_selector: str,
    watch: bool,
    sort_by: str,
    show_labels: bool,
    label_columns: tuple[str, ...],
    no_headers: bool,
    ignore_not_found: bool,
    output: Output,
    mesh: Meant,
) -> None:
    """List pods, services, deployments, proxies, meshes, problems, events, or any stored kind (vs, dr, se, cm, ...).

    `all` is what runs: pods, services and what makes pods.
    """
    wanted = parse_words(words)
    if watch and (len(wanted) > 1 or wanted[0][0] is MESH):
        raise click.UsageError("--watch shows one kind, and no meshes")
    keys = tuple(key for each in label_columns for key in each.split(","))
    printer = _Printer(output, no_headers, keys, show_labels)
    if [kind for kind, _ in wanted] == [MESH]:
        printer.print([list_meshes(Selection(*wanted[0], wide=output.form == "wide"))])
        return
    base = Selection(
        wanted[0][0],
        selector=parse_selector(selector),
        fields=parse_fields(field_selector),
        wide=output.form == "wide",
        detailed=output.needs_documents or show_labels or bool(keys),
        drawn=not output.needs_documents,
        order=_order(sort_by),
    )
    asked = _open(mesh, namespace, all(kind in OWN for kind, _ in wanted))
    selections = [
        replace(base, kind=kind, names=names, namespace=_namespace(asked, kind, all_namespaces, namespace))
        for kind, names in wanted
    ]
    # Asked before the list is read, so that no change between the two is missed.
    seen = asked.changes(-1, 0) if watch else 0
    listings = [_list(asked, selection) for selection in selections]
    if ignore_not_found:
        listings = [replace(listing, missing=()) for listing in listings]
    printer.print(listings)
    if watch:
        _watch(asked, seen, listings[0], printer)


def parse_words(words: tuple[str, ...]) -> list[tuple[Kind, tuple[str, ...]]]:
    """`pods,svc`, `all`, `pods a b`, `pod/a svc/b` → each kind with the names asked of it."""
    if not words:
        raise click.UsageError("say which kind, as in 'pods'")
    if any("/" in word for word in words):
        return list(_slashed(words))
    names = words[1:]
    kinds = [kind for word in words[0].split(",") if word for kind in find_kinds(word)]
    if len(kinds) != 1 and (names or not kinds):
        raise click.UsageError("names belong to one kind; use KIND/NAME for several")
    return [(kind, names) for kind in kinds]


def _slashed(words: tuple[str, ...]) -> Iterator[tuple[Kind, tuple[str, ...]]]:
    for word in words:
        kind, slash, name = word.partition("/")
        if not slash or not name:
            raise click.UsageError(f"{word}: every argument is KIND/NAME where one is")
        yield find_kind(kind), (name,)


def _order(text: str) -> Path | None:
    if not text:
        return None
    from pilotfish.cli.jsonpath import BadPath, parse_path

    try:
        return parse_path(text)
    except BadPath as error:
        raise click.UsageError(f"--sort-by: {error}") from error


@dataclass(frozen=True, slots=True)
class _Asked:
    namespace: str
    list: Callable[[Selection], Listing]
    changes: Callable[[int, float], int]


def _open(mesh: Meant, namespace: str | None, own: bool) -> _Asked:
    """`own`: of what is the mesh's own alone, which a cluster has as well; all else is kubectl's there."""
    if own:
        reader = open_reader(mesh, namespace)
        return _Asked(reader.namespace, lambda chosen: list_own(reader.mesh.status(), chosen), reader.mesh.changes)
    session = open_session(mesh, namespace)
    return _Asked(session.namespace, partial(list_objects, session), session.client.events)


def _namespace(asked: _Asked, kind: Kind, everywhere: bool, said: str | None) -> str | None:
    """Proxies and problems name their namespace anyway, so all of them are shown unless one was asked for."""
    return said if kind in OWN else None if everywhere else asked.namespace


def _list(asked: _Asked, selection: Selection) -> Listing:
    return list_meshes(selection) if selection.kind is MESH else asked.list(selection)


def _titles(listing: Listing) -> Iterator[str]:
    return (f"{listing.kind.qualified}/{item.name}" for item in listing.items)


def _watch(asked: _Asked, seen: int, first: Listing, printer: _Printer) -> None:
    """Prints an object when it is new, or differs in more than its ages. Ends with Ctrl-C."""
    shown = set(_stable(first, printer))
    while True:
        seen = asked.changes(seen, 30)
        listing = _list(asked, first.selection)
        stable = _stable(listing, printer)
        for text, plain in zip(_texts(listing, printer), stable, strict=True):
            if plain not in shown:
                click.echo(text, nl=False)
        shown = set(stable)


def _texts(listing: Listing, printer: _Printer) -> list[str]:
    """What is printed of each object."""
    output = printer.output
    if output.is_table:
        return printer.table(listing, time.time()).text().splitlines(keepends=True)[1:]
    if output.form == "name":
        return [f"{title}\n" for title in _titles(listing)]
    return [output.render([document], alone=True) for document in listing.documents]


def _stable(listing: Listing, printer: _Printer) -> list[Hashable]:
    """What can be compared of each: a table's row as of the epoch, when all ages are the same, else its document."""
    if printer.output.is_table:
        return [*printer.table(listing, 0).rows]
    return [render_document(document, "json") for document in listing.documents]
