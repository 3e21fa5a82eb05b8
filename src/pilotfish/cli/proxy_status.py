"""`pilotfish proxy-status`."""

from __future__ import annotations

import time

import click

from pilotfish.cli import complete
from pilotfish.cli.kinds import PROXY
from pilotfish.cli.listing import Selection, list_own
from pilotfish.cli.meant import Meant
from pilotfish.cli.meant_proxy import find_proxy
from pilotfish.cli.options import mesh_option, namespace_option
from pilotfish.cli.session import open_reader


@click.command("proxy-status")
@click.argument("pod", metavar="[POD]", required=False, shell_complete=complete.pods)
@namespace_option
@mesh_option
def command(pod: str | None, namespace: str | None, mesh: Meant) -> None:
    """Show whether proxies have what discovery means them to have, as `get proxies` does; with POD that one's.

    Of a pod that its machine's proxy serves it is the state of that one, which is shown by the machine's name, too.
    """
    reader = open_reader(mesh, namespace)
    names: tuple[str, ...] = ()
    if pod is not None:
        names = (find_proxy(reader, pod).name,)
    listing = list_own(reader.mesh.status(), Selection(PROXY, names, None if names else namespace))
    if listing.missing:
        raise listing.missing[0]
    click.echo(listing.table(time.time()).text() if listing.items else "no proxies\n", nl=False)
