"""`pilotfish publish`."""

from __future__ import annotations

import click

from pilotfish.cli.failure import Failure
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import machine_option, namespace_option
from pilotfish.cli.render.status import render_published
from pilotfish.cli.session import open_session


@click.command("publish")
@click.argument("places", metavar="[ADDR:]PORT:[pod/]NAME[.NS]:PORT[/udp]...", nargs=-1)
@click.option("--remove", multiple=True, metavar="[ADDR:]PORT[/udp]", help="Close one that was opened by hand.")
@namespace_option
@machine_option
def command(places: tuple[str, ...], remove: tuple[str, ...], namespace: str | None, mesh: Meant) -> None:
    """Open ports of this machine that lead to a Service or a pod, until they are removed or the mesh goes down.

    On loopback unless an address is given; port 0 lets the machine choose. Without arguments: list all that are open.

    \b
      pilotfish publish 8080:webapp.vm:8889
      pilotfish publish 5353:dns:53/udp 8000:pod/web-0:8000
      pilotfish publish --remove 8080
    """
    session = open_session(mesh, namespace)
    for text in remove:
        closed = session.client.unpublish(*_parse_place(text))
        click.echo(f"{closed.target} is not published on {closed.address} any more")
    for text in places:
        opened = session.client.publish(text, session.namespace)
        click.echo(f"{opened.target} published on {opened.address}")
    if places or remove:
        return
    published = session.client.status().published
    if published:
        click.echo(render_published(published), nl=False)
    else:
        click.echo("No ports are published.", err=True)


def _parse_place(text: str) -> tuple[str, str]:
    """`8080`, `127.0.0.1:5353/udp` → (`127.0.0.1:8080`, `TCP`)."""
    place, _, protocol = text.partition("/")
    address, _, port = place.rpartition(":")
    if not port.isdecimal() or protocol not in ("", "tcp", "udp"):
        raise Failure(f"{text!r} is not of the form [ADDR:]PORT[/udp]; 'pilotfish publish' lists what is open")
    return f"{address or '127.0.0.1'}:{port}", (protocol or "tcp").upper()
