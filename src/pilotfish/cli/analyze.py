"""`pilotfish analyze`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import click

from pilotfish.cli.manifests import manifest_arguments, read_manifests
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import mesh_option, output_option
from pilotfish.cli.render.findings import FORMATS, render_log
from pilotfish.cli.session import open_reader
from pilotfish.cli.sources import read_sources

if TYPE_CHECKING:
    from pilotfish.cli.mesh.protocol import Mesh
    from pilotfish.model import ObjectRef
    from pilotfish.offline.findings import Finding, Suppression
    from pilotfish.offline.world import World

FOUND = 79
"""The exit code for what reaches the threshold, as istioctl has it: another than for a command that failed."""
_LEVELS = click.Choice(["Info", "Warning", "Error"], case_sensitive=False)


@click.command("analyze")
@manifest_arguments(required=False)
@click.option("--mesh", "live", is_flag=True, help="Of the mesh that runs; with manifests, as it would be with them.")
@mesh_option
@click.option(
    "-S",
    "--suppress",
    multiple=True,
    metavar="CODE=KIND NAME[.NS]",
    help="Leave out a code of an object; * stands for anything. Repeatable.",
)
@click.option(
    "--output-threshold", type=_LEVELS, default="Info", show_default=True, help="Say nothing of what is below."
)
@click.option(
    "--failure-threshold", type=_LEVELS, default="Error", show_default=True, help="Exit with 79 from this level on."
)
@output_option("log", "json", "yaml", "sarif", "github", default="log")
def command(
    files: tuple[str, ...],
    recursive: bool,
    namespace: str,
    mesh_config: str | None,
    live: bool,
    mesh: Meant,
    suppress: tuple[str, ...],
    output_threshold: str,
    failure_threshold: str,
    output: str,
) -> None:
    """Look for what is wrong within and across objects: of manifests, without a mesh or root, or of a mesh.

    Without manifests the mesh is asked: the one that runs, or by --context one in a cluster. With --mesh, --name or
    --context and manifests, what is wrong once they are applied to it.

    Messages have Istio's codes where they mean the same, else a word of their own. The annotation
    galley.istio.io/analyze-suppress on an object leaves out the codes that it lists, or all (*).
    """
    from pilotfish.offline.findings import Level, unsuppressed

    hidden = tuple(_suppression(text) for text in suppress)
    if files and not (live or mesh.is_said):
        found, annotations = _read(files, recursive, namespace, mesh_config)
    else:
        found, annotations = _ask(mesh, files, recursive, namespace)
    wanted, failing = Level[output_threshold.upper()], Level[failure_threshold.upper()]
    findings = tuple(each for each in unsuppressed(found, hidden, annotations) if each.level >= wanted)
    click.echo((render_log if output == "log" else FORMATS[output])(findings), nl=False)
    if not findings and output == "log":
        click.echo("no issues found")
    sys.exit(FOUND if any(each.level >= failing for each in findings) else 0)


_Found = tuple["tuple[Finding, ...]", "Callable[[ObjectRef], str]"]


def _read(files: tuple[str, ...], recursive: bool, namespace: str, mesh_config: str | None) -> _Found:
    from pilotfish.offline.findings import find_coded
    from pilotfish.offline.world import build

    manifests = read_manifests(files, recursive, namespace, mesh_config)
    world = build(manifests.desired, time.time())
    return find_coded(world.problems, manifests.texts), partial(_annotation, world)


def _ask(meant: Meant, files: tuple[str, ...], recursive: bool, namespace: str) -> _Found:
    from pilotfish.cli.live_world import foresee
    from pilotfish.offline.findings import find_coded
    from pilotfish.offline.texts import Texts

    mesh = open_reader(meant).mesh
    if not files:
        return find_coded(each.problem for each in mesh.problems()), partial(_stored_annotation, mesh)
    texts = tuple(read_sources(files, recursive))
    world = replace(foresee(mesh, namespace, texts)[1], now=time.time())
    written = Texts({text.file: text.content for text in texts})
    return find_coded(world.problems, written), partial(_annotation, world)


def _annotation(world: World, ref: ObjectRef) -> str:
    from pilotfish.offline.findings import SUPPRESS

    manifest = world.desired.manifests.get(ref)
    return manifest.resource.metadata.annotations.get(SUPPRESS, "") if manifest is not None else ""


def _stored_annotation(mesh: Mesh, ref: ObjectRef) -> str:
    from pilotfish.offline.findings import SUPPRESS

    for document in mesh.objects(ref.kind, ref.namespace, ref.name):
        metadata = document.get("metadata")
        annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
        return str(annotations.get(SUPPRESS, "")) if isinstance(annotations, Mapping) else ""
    return ""


def _suppression(text: str) -> Suppression:
    from pilotfish.offline.findings import Suppression

    try:
        return Suppression.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--suppress") from error
