"""The options that many commands share, and what completes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import click

from pilotfish.cli import complete
from pilotfish.cli.meant import PLACES, Meant, place_options

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(allow_dash=True)
"""A file, a folder, or `-`; shells complete it."""


def filename_options(required: bool = True) -> Callable[[F], F]:
    """`-f`, `-k`, `-R`: as `files`, `recursive`."""
    recursive = click.option("-R", "--recursive", is_flag=True, help="Folders with all that is below them.")
    files = click.option(
        "-f",
        "--filename",
        "-k",
        "--kustomize",
        "files",
        multiple=True,
        required=required,
        type=FILE,
        metavar="FILE|DIR|URL|-",
        help="Manifests. A folder with a kustomization, or a Helm chart, is built.",
    )
    return lambda function: files(recursive(function))


def manifests_argument(name: str, required: bool = True) -> Callable[[F], F]:
    """`FILE...`, and `-f` and `-k` for who is used to kubectl and istioctl, as one tuple `name`."""
    argument = click.argument(name, metavar="[FILE|DIR|-]...", nargs=-1, type=FILE)
    option = click.option(
        "-f",
        "--filename",
        "-k",
        "--kustomize",
        "named",
        multiple=True,
        type=FILE,
        metavar="FILE|DIR|-",
        help="The same. A folder with a kustomization, or a Helm chart, is built.",
    )

    def decorate(function: F) -> F:
        @wraps(function)
        def merged(*args: Any, **options: Any) -> Any:
            given = (*options.pop(name), *options.pop("named"))
            if required and not given:
                raise click.UsageError("missing argument: say which files, as in FILE or -f FILE")
            return function(*args, **{name: given}, **options)

        return argument(option(cast(F, merged)))

    return decorate


def mesh_option(function: F) -> F:
    """Which mesh is meant, as `mesh` (`Meant`): `--name`, or `--context`, `--kubeconfig` and `--revision`."""
    return _mesh_options(function, hidden=False)


def machine_option(function: F) -> F:
    """The same of a command that is kubectl's in a cluster: it is told so."""
    return _mesh_options(function, hidden=True)


def _mesh_options(function: F, hidden: bool) -> F:
    @wraps(function)
    def merged(*args: Any, **options: Any) -> Any:
        kept = {key: value for key, value in options.items() if key not in PLACES}
        return function(*args, mesh=Meant.of(click.get_current_context()), **kept)

    return place_options(cast(F, merged), hidden)


def namespace_option(function: F) -> F:
    """`-n`, `--namespace`."""
    return click.option(
        "-n",
        "--namespace",
        metavar="NAMESPACE",
        help="The namespace. Default: the mesh's default namespace.",
        shell_complete=complete.namespaces,
    )(function)


def selector_option(function: F) -> F:
    """`-l`, `--selector`, as text."""
    return click.option(
        "-l", "--selector", default="", metavar="LABELS", help="Only those with these labels: a=b,c!=d,e,!f."
    )(function)


def container_option(function: F) -> F:
    """`-c`, `--container`."""
    return click.option(
        "-c",
        "--container",
        metavar="CONTAINER",
        help="The container; istio-proxy is the sidecar. Default: the pod's first.",
        shell_complete=complete.containers,
    )(function)


def output_option(*formats: str, default: str | None = None) -> Callable[[F], F]:
    """`-o`, `--output`, one of `formats`."""
    return click.option(
        "-o", "--output", type=click.Choice(formats), default=default, show_default=bool(default), help="Output format."
    )


def pod_argument(function: F) -> F:
    """POD: `name`, `name.namespace`, `pod/name`, `deploy/name[.namespace]`."""
    return click.argument("pod", metavar="POD", shell_complete=complete.pods)(function)
