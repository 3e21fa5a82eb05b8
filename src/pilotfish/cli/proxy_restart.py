"""`pilotfish proxy-restart`."""

from __future__ import annotations

import click

from pilotfish.cli import complete
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import machine_option, namespace_option
from pilotfish.cli.session import Session, open_session
from pilotfish.cli.target import parse_pod, pick_pod


@click.command("proxy-restart")
@click.argument("name", metavar="POD|MACHINE", shell_complete=complete.pods)
@namespace_option
@machine_option
def command(name: str, namespace: str | None, mesh: Meant) -> None:
    """Let another Envoy take over from that of a pod, or of the machine; no request fails.

    The one before goes on until its last connection has ended, for a minute at the most (drainDuration and 15 s, if
    that is more). Where the other does not get ready, it serves on.
    """
    session = open_session(mesh, namespace)
    place, found = _find(session, name)
    session.client.restart_proxy(place, found)
    click.echo(f"another Envoy serves {found}.{place}; the one before ends its connections")


def _find(session: Session, target: str) -> tuple[str, str]:
    """The namespace and the name of a proxy. Raises Failure where there is none."""
    view = session.client.status()
    meant = parse_pod(target, session.namespace)
    known = {(each.namespace, each.pod) for each in view.proxies}
    for reading in meant.readings if meant.kind is None else ():
        if reading in known:
            return reading
    pod = pick_pod(view, meant, session.namespace)
    return pod.namespace, pod.name
