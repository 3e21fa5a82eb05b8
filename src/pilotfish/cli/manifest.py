"""`pilotfish manifest`."""

from __future__ import annotations

from pathlib import Path

import click

from pilotfish.cli.cluster import choose_values, values_options


@click.command("manifest")
@values_options
@click.option(
    "--helm",
    "chart",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write a Helm chart of the same into this folder, in the place of printing objects.",
)
def command(files: tuple[str, ...], settings: tuple[str, ...], revision: str, chart: Path | None) -> None:
    """Print the objects of an installation in a cluster, in the order in which they are applied.

    `pilotfish install` applies the same, and waits until they are ready.
    """
    from pilotfish.cli.render.documents import render_document
    from pilotfish.install.objects import build_objects

    if chart is not None:
        if files or settings or revision:
            raise click.UsageError("a chart is of all values, which `helm install` is given; give none with --helm")
        _write_chart(chart)
        return
    values = choose_values(files, settings, revision)
    click.echo("---\n".join(render_document(each, "yaml") for each in build_objects(values)), nl=False)


def _write_chart(folder: Path) -> None:
    from pilotfish.cli.failure import Failure
    from pilotfish.install.chart import build_chart
    from pilotfish.install.values import DEFAULTS

    if folder.exists() and any(folder.iterdir()) and not (folder / "Chart.yaml").exists():
        raise Failure(f"{folder} holds something else than a chart, so nothing was written; name another folder")
    for path, text in build_chart(DEFAULTS.tag).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    click.echo(f"{folder}: helm install pilotfish {folder} -n istio-system --create-namespace")
