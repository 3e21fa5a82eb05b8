"""`pilotfish scale`."""

from __future__ import annotations

import click

from pilotfish.cli import complete
from pilotfish.cli.changes import print_changes
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import machine_option, namespace_option
from pilotfish.cli.session import open_session
from pilotfish.cli.workload import find_workload, join_words
from pilotfish.model.kinds import SCALED


@click.command("scale")
@click.argument("words", metavar="deploy/NAME", nargs=-1, required=True, shell_complete=complete.scaled)
@click.option(
    "--replicas", type=click.IntRange(min=0), required=True, metavar="N", help="How many pods there shall be."
)
@click.option("--current-replicas", type=click.IntRange(min=0), metavar="N", help="Only if there are that many now.")
@namespace_option
@machine_option
def command(
    words: tuple[str, ...], replicas: int, current_replicas: int | None, namespace: str | None, mesh: Meant
) -> None:
    """Set the number of pods of a Deployment, StatefulSet or ReplicaSet."""
    target = join_words(words)
    session = open_session(mesh, namespace)
    ref = find_workload(session, target, SCALED)
    print_changes([session.client.scale(ref, replicas, current_replicas)])
