"""`pilotfish patch`."""

from __future__ import annotations

import sys

import click

from pilotfish.cli import complete
from pilotfish.cli.changes import print_patched
from pilotfish.cli.chosen import check_words, choose
from pilotfish.cli.failure import Failure
from pilotfish.cli.manifests import read_text
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import machine_option, namespace_option
from pilotfish.cli.session import open_session
from pilotfish.model import Kind


@click.command("patch")
@click.argument("words", metavar="KIND NAME | KIND/NAME", nargs=-1, required=True, shell_complete=complete.names)
@click.option("-p", "--patch", "text", default="", metavar="PATCH", help="In JSON or YAML.")
@click.option("--patch-file", type=click.Path(allow_dash=True), metavar="FILE", help="A file with the patch.")
@click.option(
    "--type",
    "how",
    type=click.Choice(["strategic", "merge", "json"]),
    help="Default: strategic for Kubernetes' kinds, merge for others.",
)
@namespace_option
@machine_option
def command(
    words: tuple[str, ...], text: str, patch_file: str | None, how: str | None, namespace: str | None, mesh: Meant
) -> None:
    """Change fields of an object."""
    if bool(text) == bool(patch_file):
        raise click.UsageError("give either --patch or --patch-file")
    change = _read(read_text(patch_file) if patch_file else text)
    wanted = check_words(words, "", False)
    session = open_session(mesh, namespace)
    fine = True
    for each in choose(session, wanted, namespace=session.namespace):
        view = session.client.patch(each.ref, change, how or default_way(each.ref.kind))
        fine = print_patched(view, "patched") and fine
    sys.exit(0 if fine else 1)


def default_way(kind: Kind) -> str:
    """An API server merges the lists of its own kinds by their keys, and knows none of others."""
    return "merge" if kind.is_istio else "strategic"


def _read(text: str) -> object:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Failure(f"the patch is neither JSON nor YAML: {error}") from error
