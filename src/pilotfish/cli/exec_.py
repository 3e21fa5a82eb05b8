"""`pilotfish exec`."""

from __future__ import annotations

import sys

import click

from pilotfish.cli.inside import surroundings
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import container_option, machine_option, namespace_option, pod_argument
from pilotfish.cli.session import open_session, require_root
from pilotfish.cli.target import find_container, find_pod


@click.command("exec", options_metavar="[OPTIONS]", short_help="Run a command in a container of a pod.")
@pod_argument
@click.argument("argv", metavar="-- COMMAND [ARGS]...", nargs=-1, type=click.UNPROCESSED)
@container_option
@click.option("-i", "--stdin", is_flag=True, help="Pass standard input. It always is: accepted as kubectl's.")
@click.option("-t", "--tty", is_flag=True, help="Standard input is a terminal.")
@namespace_option
@machine_option
def command(
    pod: str,
    argv: tuple[str, ...],
    container: str | None,
    stdin: bool,
    tty: bool,
    namespace: str | None,
    mesh: Meant,
) -> None:
    """Run a command where a container of POD runs: its network, files, user, environment and folder.

    POD is NAME, NAME.NAMESPACE, deploy/NAME[.NAMESPACE] or svc/NAME[.NAMESPACE]. Exits as the command does: 126 if it
    can't be executed, 127 if it isn't found, 128 + N for signal N.
    """
    if not argv:
        raise click.UsageError("you must specify a command for the container, after --")
    require_root("a pod is a network namespace, which only root may enter")
    session = open_session(mesh, namespace)
    found = find_pod(session.client.status(), pod, session.namespace)
    where = find_container(found, container)
    if container is None and sum(each.kind == "app" for each in found.containers) > 1:
        names = ", ".join(each.name for each in found.containers)
        click.echo(f'Defaulted container "{where.name}" out of: {names}', err=True)
    spec, pid = surroundings(found, where)
    if tty and not sys.stdin.isatty():
        click.echo("Unable to use a TTY - input is not a terminal or the right kind of file", err=True)
    from pilotfish.runtime.linux.process import exec_in

    exec_in(spec, pid, argv)
