"""`pilotfish edit`."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from pilotfish.cli import complete
from pilotfish.cli.changes import print_patched
from pilotfish.cli.chosen import check_words, choose
from pilotfish.cli.failure import Failure
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import machine_option, namespace_option
from pilotfish.cli.render.documents import render_document
from pilotfish.cli.session import open_session
from pilotfish.model.kinds import SECRET
from pilotfish.model.wellknown import SOURCE_ANNOTATION

_HEADER = """\
# Saving this changes the object; an empty file, or one that is left as it is, changes nothing.
#
"""
_GIVEN = ("creationTimestamp", "generation", "uid")
"""What the mesh says of an object, and nobody writes."""


@click.command("edit")
@click.argument("words", metavar="KIND NAME | KIND/NAME", nargs=-1, required=True, shell_complete=complete.names)
@namespace_option
@machine_option
def command(words: tuple[str, ...], namespace: str | None, mesh: Meant) -> None:
    """Change an object in an editor: $KUBE_EDITOR, $VISUAL or $EDITOR."""
    wanted = check_words(words, "", False)
    session = open_session(mesh, namespace)
    fine = True
    for each in choose(session, wanted, namespace=session.namespace):
        if each.ref.kind is SECRET:
            raise Failure("a Secret's values are shown to nobody, so it can't be edited; 'apply' or 'patch' it")
        before = _written(each.item.value)
        saved = click.edit(
            _HEADER + render_document(before, "yaml"), editor=os.environ.get("KUBE_EDITOR"), extension=".yaml"
        )
        after = _read(saved)
        if not after or after == before:
            click.echo("Edit cancelled, no changes made.")
            continue
        from pilotfish.node.patching import difference

        view = session.client.patch(each.ref, difference(before, after))
        fine = print_patched(view, "edited") and fine
        if not fine and saved:
            click.echo(f"error: what you wrote is kept in {_keep(saved)}", err=True)
    sys.exit(0 if fine else 1)


def _written(document: Any) -> dict[str, Any]:
    """Without what the mesh added."""
    found = {name: item for name, item in dict(document).items() if name != "status"}
    metadata = {name: item for name, item in found["metadata"].items() if name not in _GIVEN}
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != SOURCE_ANNOTATION}
    metadata.pop("annotations", None)
    return {**found, "metadata": {**metadata, **({"annotations": annotations} if annotations else {})}}


def _read(text: str | None) -> dict[str, Any]:
    """{} where nothing was saved."""
    if text is None:
        return {}
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Failure(f"what was saved is no YAML: {error}; it is kept in {_keep(text)}") from error
    if found is not None and not isinstance(found, dict):
        raise Failure(f"what was saved is no object; it is kept in {_keep(text)}")
    return found or {}


def _keep(text: str) -> str:
    descriptor, path = tempfile.mkstemp(prefix="pilotfish-edit-", suffix=".yaml")
    os.close(descriptor)
    Path(path).write_text(text)
    return path
