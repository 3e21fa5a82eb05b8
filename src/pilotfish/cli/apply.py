"""`pilotfish apply`."""

from __future__ import annotations

import sys

import click

from pilotfish.cli.changes import show_changes, show_problems
from pilotfish.cli.duration import parse_duration
from pilotfish.cli.failure import Failure
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import filename_options, machine_option, namespace_option
from pilotfish.cli.session import Session, open_session
from pilotfish.cli.sources import ManifestText, read_sources
from pilotfish.runtime.control.views import ProblemView

_SOON = 2.0
"""Seconds that proxies get to refuse what was applied, where nobody asked to wait: most have answered within 0.1."""


@click.command("apply")
@filename_options()
@click.option(
    "--dry-run",
    type=click.Choice(["none", "client", "server"]),
    is_flag=False,
    flag_value="client",
    default="none",
    help="Change nothing; print what would change, and the Problems that there would be.",
)
@click.option("--wait", is_flag=True, help="Return when every proxy has it.")
@click.option(
    "--timeout",
    type=parse_duration,
    default="2m",
    show_default=True,
    metavar="DURATION",
    help="How long --wait waits.",
)
@namespace_option
@machine_option
def command(
    files: tuple[str, ...],
    recursive: bool,
    dry_run: str,
    wait: bool,
    timeout: float,
    namespace: str | None,
    mesh: Meant,
) -> None:
    """Create or configure the objects of manifests. The change is live at once.

    One bad object leaves the others working: its Problems are printed, and those that the change causes elsewhere or in
    an Envoy, and the exit code is 1 if one of them is an error.
    """
    session = open_session(mesh, namespace)
    texts = tuple(read_sources(files, recursive))
    fine = _try(session, texts) if dry_run != "none" else _apply(session, texts, timeout if wait else 0.0)
    sys.exit(0 if fine else 1)


def _apply(session: Session, texts: tuple[ManifestText, ...], wait: float) -> bool:
    client = session.client
    known = {_what(problem) for problem in client.status().problems}
    views = [client.apply(text.content, text.file, session.namespace) for text in texts]
    if not any(view.changes or view.problems for view in views):
        raise Failure("no objects passed to apply")
    fine = show_changes(views)
    if not wait and not any(change.action in ("created", "configured") for view in views for change in view.changes):
        return fine
    synced = client.synced(wait or _SOON)
    known |= {_what(problem) for view in views for problem in view.problems}
    status = client.status()
    fine = show_problems(problem for problem in status.problems if _what(problem) not in known) and fine
    if wait and not synced:
        late = [f"{p.pod}.{p.namespace}" for p in status.proxies if p.sync is None or not p.sync.synced]
        who = f"{', '.join(late)} did not" if late else "not all proxies did"
        raise Failure(f"applied, but {who} acknowledge it within {wait:g} s; 'pilotfish status' says more")
    return fine


def _try(session: Session, texts: tuple[ManifestText, ...]) -> bool:
    from pilotfish.cli.live_world import foresee
    from pilotfish.cli.mesh.machine import Machine
    from pilotfish.offline.difference import compare

    difference = compare(*foresee(Machine(session.mesh), session.namespace, texts))
    actions = {change.ref: "created" if change.before is None else "configured" for change in difference.objects}
    actions |= dict.fromkeys(difference.unchanged, "unchanged")
    if not actions and not difference.problems:
        raise Failure("no objects passed to apply")
    for ref, action in sorted(actions.items()):
        click.echo(f"{ref.kind.qualified}/{ref.name} {action} (dry run)")
    return show_problems(map(ProblemView.of, difference.problems))


def _what(problem: ProblemView) -> tuple[str, ...]:
    """Wherever it is written."""
    return problem.kind, problem.group, problem.namespace, problem.name, problem.field, problem.reason, problem.message
