"""`pilotfish inject`: manifests with their proxies in them, where no webhook is to put them there."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from pilotfish.cli.cluster import choose_values, revision_option
from pilotfish.cli.failure import Failure
from pilotfish.cli.manifests import read_text
from pilotfish.cli.options import manifests_argument

if TYPE_CHECKING:
    from pilotfish.config.mesh import MeshConfig
    from pilotfish.inject.documents import Circumstances, Piece
    from pilotfish.install.values import Values
    from pilotfish.model import Problem


@click.command("inject")
@manifests_argument("files")
@click.option("-R", "--recursive", is_flag=True, help="Folders with all that is below them.")
@click.option("-n", "--namespace", default="default", show_default=True, help="Of objects that name none.")
@click.option(
    "--mesh-config",
    type=click.Path(dir_okay=False),
    help="A file with Istio's meshConfig, in the place of the values'.",
)
@click.option(
    "--values",
    "values_files",
    multiple=True,
    metavar="FILE",
    type=click.Path(allow_dash=True),
    help="Values of the installation, as `install` takes them. Repeatable.",
)
@click.option("--set", "settings", multiple=True, metavar="FIELD=VALUE", help="One value, such as tag=1.2. Repeatable.")
@revision_option
def command(
    files: tuple[str, ...],
    recursive: bool,
    namespace: str,
    mesh_config: str | None,
    values_files: tuple[str, ...],
    settings: tuple[str, ...],
    revision: str,
) -> None:
    """Print manifests with a proxy in every pod that is to have one, as the webhook would make it.

    Pods, and templates of Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs and CronJobs, also in Lists; all
    other documents are printed as they are. Nobody has to have labelled the namespace: a Namespace among the manifests
    counts. Give the same values, and the same meshConfig, as the cluster has. Needs no cluster.
    """
    from pilotfish.cli.sources import read_sources
    from pilotfish.inject.documents import inject_text
    from pilotfish.model import Severity

    values = choose_values(values_files, settings, revision)
    texts = tuple((text.file, text.content) for text in read_sources(files, recursive))
    given = _circumstances(texts, namespace, values, _mesh_config(mesh_config, values))
    pieces = [tuple(inject_text(content, file, given)) for file, content in texts]
    problems = [problem for each in pieces for piece in each for problem in piece.problems]
    _tell(problems, dict(texts))
    if any(problem.severity is Severity.ERROR for problem in problems):
        sys.exit(1)
    click.echo(_joined(pieces), nl=False)


def _mesh_config(path: str | None, values: Values) -> MeshConfig:
    from pilotfish.config.meshconfig import load_mesh_config
    from pilotfish.install.mesh import mesh_config
    from pilotfish.install.names import Names

    if path is None:
        text = mesh_config(values, Names(values.revision, values.namespace), {})["data"]["mesh"]
    else:
        text = read_text(path)
    found, problems = load_mesh_config(text, path or "meshConfig")
    _tell(problems, {path: text} if path else {})
    if found is None:
        raise Failure("the meshConfig is wrong, so nothing is injected; mend it")
    return found


def _circumstances(texts: Iterable[tuple[str, str]], namespace: str, values: Values, mesh: MeshConfig) -> Circumstances:
    """With what the manifests themselves say: of their namespaces, and of proxies."""
    from pilotfish.config.kubernetes import Namespace
    from pilotfish.inject.documents import Circumstances
    from pilotfish.inject.pod import Installation
    from pilotfish.inject.proxy_config import by_age
    from pilotfish.install.injection import proxies
    from pilotfish.offline.reading import read

    resources = [manifest.resource for manifest in read(texts, namespace).manifests.values()]
    labels = {each.metadata.name: each.metadata.labels for each in resources if isinstance(each, Namespace)}
    return Circumstances(Installation(mesh, proxies(values), by_age(resources)), namespace, labels)


def _tell(problems: Iterable[Problem], texts: dict[str, str]) -> None:
    from pilotfish.cli.render.findings import render_lines
    from pilotfish.offline.findings import find
    from pilotfish.offline.texts import Texts

    click.echo(render_lines(find(problems, Texts(texts))), nl=False, err=True)


def _joined(files: Iterable[Iterable[Piece]]) -> str:
    """All documents, of all files, as one text."""
    from pilotfish.cli.render.documents import render_document

    made = ""
    for pieces in files:
        for piece in pieces:
            text = piece.text
            if piece.document is not None:
                head = "---\n" if text.startswith("---") else ""
                text = head + render_document(piece.document, "yaml")
            if made and not made.endswith("\n"):
                made += "\n"
            if made and text.strip() and not text.startswith("---"):
                made += "---\n"
            made += text
    return made
