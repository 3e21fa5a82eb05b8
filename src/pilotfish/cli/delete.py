"""`pilotfish delete`."""

from __future__ import annotations

from collections.abc import Iterator

import click

from pilotfish.cli import complete
from pilotfish.cli.changes import print_changes
from pilotfish.cli.chosen import check_words, choose
from pilotfish.cli.failure import Failure
from pilotfish.cli.get import parse_words
from pilotfish.cli.kinds import READ_ONLY
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import filename_options, machine_option, namespace_option, selector_option
from pilotfish.cli.session import Session, open_session
from pilotfish.cli.sources import read_sources
from pilotfish.model import ObjectRef


@click.command("delete")
@click.argument("words", metavar="[KIND NAME... | KIND/NAME... | KIND]", nargs=-1, shell_complete=complete.names)
@filename_options(required=False)
@click.option("--all", "every", is_flag=True, help="All objects of the kind.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Those of all namespaces, with --selector or --all.")
@selector_option
@click.option("--ignore-not-found", is_flag=True, help="An object that is not there is no error.")
@namespace_option
@machine_option
def command(
    words: tuple[str, ...],
    files: tuple[str, ...],
    recursive: bool,
    every: bool,
    all_namespaces: bool,
    selector: str,
    ignore_not_found: bool,
    namespace: str | None,
    mesh: Meant,
) -> None:
    """Delete objects: by the manifests that made them, by kind and name, by their labels, or all of a kind.

    `all` is what runs: pods, services and what makes pods. A pod of a Deployment is replaced.
    """
    if bool(words) == bool(files):
        raise click.UsageError("say what to delete: either -f FILE, or KIND NAME")
    if files and (every or selector):
        raise click.UsageError("--all and --selector choose among objects of a kind: leave -f out")
    if words:
        wanted = check_words(words, selector, every)
    session = open_session(mesh, namespace)
    if files:
        texts = tuple(read_sources(files, recursive))
        views = (session.client.delete(text.content, text.file, session.namespace) for text in texts)
        print_changes(views, missing_ok=ignore_not_found)
        return
    if every or selector:
        place = None if all_namespaces else session.namespace
        refs = [each.ref for each in choose(session, wanted, selector, place, why="can't be deleted")]
        if not refs:
            click.echo("No resources found.", err=True)
        # What makes pods goes before its pods, or it would make others in their place.
        refs.sort(key=lambda ref: not ref.kind.group)
    else:
        refs = list(_named(session, words))
    views = (session.client.delete_object(ref) for ref in refs)
    print_changes(views, missing_ok=ignore_not_found or every or bool(selector))


def _named(session: Session, words: tuple[str, ...]) -> Iterator[ObjectRef]:
    for kind, names in parse_words(words):
        if kind in READ_ONLY:
            raise Failure(f"{kind.plural} can't be deleted; 'pilotfish down' takes a mesh down, 'delete pod' a proxy")
        yield from (kind.ref(session.namespace, name) for name in names)
