"""What the commands that install share: which cluster, which values, and how their steps are told."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from pilotfish.cli.duration import parse_duration
from pilotfish.cli.failure import Failure
from pilotfish.cli.meant import CONTEXT, Meant

if TYPE_CHECKING:
    from pilotfish.cluster.paths import Attributes
    from pilotfish.install.values import Values
    from pilotfish.runtime.cluster.api import Api
    from pilotfish.runtime.cluster.installation import Step

F = TypeVar("F", bound=Callable[..., Any])


def cluster_options(function: F) -> F:
    """`kubeconfig` and `context`, as they stand before the command's name or after it, or in the environment."""

    @wraps(function)
    def merged(*args: Any, **options: Any) -> Any:
        meant = Meant.of(click.get_current_context())
        if meant.name is not None:
            raise click.UsageError(
                "--name is a mesh on this machine, and this is done in a cluster; name its --context"
            )
        options |= {"kubeconfig": meant.kubeconfig, "context": meant.context or os.environ.get(CONTEXT, "")}
        if "revision" in options:
            options["revision"] = options["revision"] or meant.revision
        return function(*args, **options)

    kubeconfig = click.option(
        "--kubeconfig",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Another than $KUBECONFIG or ~/.kube/config.",
    )
    context = click.option("--context", default="", metavar="NAME", help="In the cluster of this kubeconfig context.")
    return kubeconfig(context(cast(F, merged)))


def values_options(function: F) -> F:
    """`files`, `settings` and `revision`."""
    files = click.option(
        "-f",
        "--values",
        "files",
        multiple=True,
        metavar="FILE",
        type=click.Path(allow_dash=True),
        help="Values, as YAML. Repeatable: a later file goes before an earlier one.",
    )
    settings = click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="FIELD=VALUE",
        help="One value, such as cni.enabled=true. Repeatable.",
    )
    return files(settings(revision_option(function)))


def revision_option(function: F) -> F:
    return click.option(
        "--revision", default="", metavar="REVISION", help="Of several control planes, the one of this name."
    )(function)


def waiting_options(function: F) -> F:
    """`dry_run`, `timeout` in seconds, and `no_wait`."""
    dry_run = click.option("--dry-run", is_flag=True, help="Ask the API server about each object, and change nothing.")
    timeout = click.option(
        "--timeout",
        default="5m",
        show_default=True,
        metavar="TIME",
        callback=lambda _, __, value: parse_duration(value),
        help="How long to wait until all is ready.",
    )
    no_wait = click.option("--no-wait", is_flag=True, help="Do not wait.")
    return dry_run(timeout(no_wait(function)))


def open_api(kubeconfig: Path | None, context: str) -> Api:
    """Raises MachineError where no cluster is known."""
    from pilotfish.runtime.cluster.access import find_access
    from pilotfish.runtime.cluster.api import Api

    return Api(find_access(kubeconfig, context))


def choose_values(files: Iterable[str], settings: Iterable[str], revision: str, kept: str = "") -> Values:
    """Says on standard error what is wrong with them. `kept`: those of before, as JSON, which all others go before."""
    from pilotfish.cli.sources import read_sources
    from pilotfish.install.settings import read_values

    texts = [("the values of before", kept)] if kept else []
    texts += ((source.file, source.content) for source in read_sources(tuple(files)))
    named = (f"revision={revision}",) if revision else ()
    found = read_values(texts, (*settings, *named))
    for problem in found.problems:
        click.echo(str(problem), err=True)
    if found.values is None:
        raise Failure("the values are wrong, so nothing was done; mend them")
    return found.values


def refuse_missing(missing: Sequence[Attributes], what: str) -> None:
    if not missing:
        return
    for each in missing:
        click.echo(f"error: {what} needs to {each.verb} {each.what}: {each.rule} [Forbidden]", err=True)
    raise Failure(f"{len(missing)} permissions are missing, so nothing was done; have them granted to this user")


def tell(step: Step, *, dry_run: bool = False) -> None:
    """As kubectl does."""
    place = f" in namespace {step.ref.namespace}" if step.ref.namespace else ""
    click.echo(f"{step.ref.kind.qualified}/{step.ref.name}{place} {step.change}{' (dry run)' if dry_run else ''}")
