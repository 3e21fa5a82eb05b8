"""`pilotfish delete`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from pilotfish.cli import complete
from pilotfish.cli.changes import print_changes
from pilotfish.cli.failure import Failure
from pilotfish.cli.kinds import OWN, find_kind
from pilotfish.cli.options import FILE, mesh_option, namespace_option
from pilotfish.cli.session import open_session
from pilotfish.cli.sources import read_sources
from pilotfish.model import Kind


@click.command("delete")
@click.argument("words", metavar="[KIND NAME... | KIND/NAME...]", nargs=-1, shell_complete=complete.names)
@click.option(
    "-f", "--filename", "files", multiple=True, type=FILE, metavar="FILE|DIR|-", help="Manifests that name them."
)
@click.option("-R", "--recursive", is_flag=True, help="Folders with all that is below them.")
@click.option("--ignore-not-found", is_flag=True, help="An object that is not there is no error.")
@namespace_option
@mesh_option
def command(
    words: tuple[str, ...],
    files: tuple[str, ...],
    recursive: bool,
    ignore_not_found: bool,
    namespace: str | None,
    mesh: str | None,
) -> None:
    """Delete objects, by the manifests that made them or by kind and name."""
    if bool(words) == bool(files):
        raise click.UsageError("say what to delete: either -f FILE, or KIND NAME")
    named = tuple(parse_objects(words))
    session = open_session(mesh, namespace)
    if files:
        texts = tuple(read_sources(files, recursive))
        views = (session.client.delete(text.content, text.file, session.namespace) for text in texts)
    else:
        views = (session.client.delete_object(kind.ref(session.namespace, name)) for kind, name in named)
    print_changes(views, missing_ok=ignore_not_found)


def parse_objects(words: tuple[str, ...]) -> Iterator[tuple[Kind, str]]:
    """`vs calculator`, `pod a b`, `pod/a vs/b`."""
    if not words:
        return
    if "/" in words[0]:
        pairs = [word.partition("/")[::2] for word in words]
    elif len(words) == 1:
        raise click.UsageError(f"say which of the {words[0]} to delete: KIND NAME")
    else:
        pairs = [(words[0], name) for name in words[1:]]
    for word, name in pairs:
        if not name:
            raise click.UsageError(f"{word}: every argument is KIND/NAME where one is")
        kind = find_kind(word)
        if kind in OWN:
            raise Failure(f"{kind.plural} can't be deleted; 'pilotfish down' takes a mesh down, 'delete pod' a proxy")
        yield kind, name
