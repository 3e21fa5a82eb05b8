"""`pilotfish analyze`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from pilotfish.cli.manifests import manifest_arguments, read_manifests
from pilotfish.cli.options import mesh_option, output_option
from pilotfish.cli.render.findings import FORMATS, render_log
from pilotfish.cli.session import open_session

if TYPE_CHECKING:
    from pilotfish.model import ObjectRef
    from pilotfish.offline.findings import Finding, Suppression

FOUND = 79
"""The exit code for what reaches the threshold, as istioctl has it: another than for a command that failed."""
_LEVELS = click.Choice(["Info", "Warning", "Error"], case_sensitive=False)


@click.command("analyze")
@manifest_arguments(required=False)
@click.option("--mesh", "live", is_flag=True, help="Ask the running mesh instead.")
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
    mesh: str | None,
    suppress: tuple[str, ...],
    output_threshold: str,
    failure_threshold: str,
    output: str,
) -> None:
    """Look for what is wrong within and across objects: of manifests, without a mesh or root, or of the running mesh.

    Messages have Istio's codes where they mean the same, else a word of their own. The annotation
    galley.istio.io/analyze-suppress on an object leaves out the codes that it lists, or all (*).
    """
    from pilotfish.offline.findings import Level, unsuppressed

    if live is bool(files):
        raise click.UsageError("give either manifests or --mesh")
    hidden = tuple(_suppression(text) for text in suppress)
    found, annotations = _ask(mesh) if live else _read(files, recursive, namespace, mesh_config)
    wanted, failing = Level[output_threshold.upper()], Level[failure_threshold.upper()]
    findings = tuple(each for each in unsuppressed(found, hidden, annotations) if each.level >= wanted)
    click.echo((render_log if output == "log" else FORMATS[output])(findings), nl=False)
    if not findings and output == "log":
        click.echo("no issues found")
    sys.exit(FOUND if any(each.level >= failing for each in findings) else 0)


_Found = tuple["tuple[Finding, ...]", "Callable[[ObjectRef], str]"]


def _read(files: tuple[str, ...], recursive: bool, namespace: str, mesh_config: str | None) -> _Found:
    from pilotfish.offline.findings import SUPPRESS, find_coded
    from pilotfish.offline.world import build

    manifests = read_manifests(files, recursive, namespace, mesh_config)
    world = build(manifests.desired, time.time())
    objects = world.desired.manifests

    def annotation(ref: ObjectRef) -> str:
        manifest = objects.get(ref)
        return manifest.resource.metadata.annotations.get(SUPPRESS, "") if manifest is not None else ""

    return find_coded(world.problems, manifests.texts), annotation


def _ask(mesh: str | None) -> _Found:
    from pilotfish.offline.findings import SUPPRESS, find_coded

    client = open_session(mesh).client
    findings = find_coded(view.problem for view in client.status().problems)

    def annotation(ref: ObjectRef) -> str:
        for document in client.objects(ref.kind, ref.namespace, ref.name):
            metadata = document.get("metadata")
            annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
            return str(annotations.get(SUPPRESS, "")) if isinstance(annotations, Mapping) else ""
        return ""

    return findings, annotation


def _suppression(text: str) -> Suppression:
    from pilotfish.offline.findings import Suppression

    try:
        return Suppression.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--suppress") from error
