"""`pilotfish port-forward`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pilotfish.cli import complete
from pilotfish.cli.failure import Failure
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import machine_option, namespace_option
from pilotfish.cli.session import Session, open_session, require_root
from pilotfish.cli.target import find_pod
from pilotfish.model.kinds import SERVICE
from pilotfish.model.target import parse_target
from pilotfish.node.publish import Endpoints, Publish, Transport
from pilotfish.runtime.control.client import Unreachable
from pilotfish.runtime.control.views import PodView

if TYPE_CHECKING:
    from pilotfish.runtime.node.publish import Port

_FORM = re.compile(r"(?:(?P<local>[0-9]*):)?(?P<remote>[a-z0-9-]+)(?:/(?P<protocol>tcp|udp))?")
_LOOPBACKS = {"TCP": ("127.0.0.1", "::1"), "UDP": ("127.0.0.1",)}
"""Where an app may listen for itself alone. Of UDP nobody says whether it is there."""
_LOOK = 5.0
"""Seconds after which a pod is looked for though nothing was told."""


@dataclass(frozen=True, slots=True)
class _Forward:
    address: str
    local: int
    remote: str
    protocol: Transport


@click.command("port-forward")
@click.argument("target", metavar="POD|TYPE/NAME", shell_complete=complete.pods)
@click.argument("ports", metavar="[LOCAL:]REMOTE[/udp]...", nargs=-1, required=True)
@click.option(
    "--address", "listening", default="127.0.0.1", show_default=True, metavar="ADDR,...", help="Where to listen."
)
@namespace_option
@machine_option
def command(target: str, ports: tuple[str, ...], listening: str, namespace: str | None, mesh: Meant) -> None:
    """Forward local ports to a pod, until Ctrl-C or the pod's end.

    Connections begin inside the pod, at its loopback, as kubectl's do: past its sidecar, also where an app listens on
    127.0.0.1 alone. Of svc/NAME and deploy/NAME a ready pod is chosen once. `:REMOTE` lets the machine choose the port.

    \b
      pilotfish port-forward webapp-0.vm 8080:8000
      pilotfish port-forward svc/webapp 8889
      pilotfish port-forward deploy/dns :53/udp
    """
    require_root("a pod is a network namespace, which only root may enter")
    session = open_session(mesh, namespace)
    addresses = listening.replace("localhost", "127.0.0.1").split(",")
    forwards = [_parse(text, address) for text in ports for address in addresses]
    pod, numbers = _find(session, target, forwards)
    try:
        asyncio.run(_forward(session, pod, list(zip(forwards, numbers, strict=True))))
    except KeyboardInterrupt:
        raise click.Abort from None


def _parse(text: str, address: str) -> _Forward:
    found = _FORM.fullmatch(text)
    if found is None:
        raise Failure(f"{text!r} is not of the form [LOCAL:]REMOTE[/udp], such as 8080:80")
    local = found["local"]
    if local is None:
        local = found["remote"] if found["remote"].isdecimal() else "0"
    if int(local or 0) > 65535:
        raise Failure(f"{text!r}: {local} is no port; ports end at 65535")
    return _Forward(address, int(local or 0), found["remote"], "UDP" if found["protocol"] == "udp" else "TCP")


def _find(session: Session, target: str, forwards: Sequence[_Forward]) -> tuple[PodView, list[int]]:
    """The pod, and its port for each. Raises Failure where there is none."""
    view = session.client.status()
    meant = parse_target(target, session.namespace)
    if meant is None or meant.kind is not SERVICE:
        pod = find_pod(view, target, session.namespace)
        return pod, [_resolve(session, f"pod/{pod.name}.{pod.namespace}", each)[0][1] for each in forwards]
    known = {(each.namespace, each.name) for each in view.services}
    namespace, name = next((key for key in meant.readings if key in known), meant.readings[0])
    place = f"{name}.{namespace}"
    found = [_resolve(session, place, each) for each in forwards]
    for pod in view.pods:
        chosen = [next((port for address, port in each if address in pod.addresses), None) for each in found]
        if None not in chosen:
            return pod, [port for port in chosen if port is not None]
    raise Failure(f"no pod of the mesh stands behind all these ports of service {place}; name a pod instead")


def _resolve(session: Session, place: str, forward: _Forward) -> tuple[tuple[str, int], ...]:
    protocol = "" if forward.protocol == "TCP" else "/udp"
    what = f"{place}:{forward.remote}{protocol}"
    found = session.client.endpoints(f"0:{what}", session.namespace)
    if not found:
        raise Failure(f"{what} leads to no ready pod; 'pilotfish get services,pods -A' shows what there is")
    return found


async def _forward(session: Session, pod: PodView, forwards: Sequence[tuple[_Forward, int]]) -> None:
    from pilotfish.runtime.linux.netns import NetNs
    from pilotfish.runtime.node.publish import Port, Published
    from pilotfish.runtime.thread import in_thread

    opened: list[Published] = []
    try:
        for forward, number in forwards:
            name, namespace, protocol = pod.name, pod.namespace, forward.protocol
            publish = Publish(forward.address, forward.local, name, namespace, str(number), protocol, is_pod=True)
            opened.append(Published(Port(publish), _inside, NetNs(Path(pod.netns)), in_turn=False))
        for each in opened:
            await each.start()
            click.echo(f"Forwarding from {each.address} -> {each.publish.target_port}{_suffix(each.port)}")
        await in_thread(lambda: _wait_for_end(session, pod))
    finally:
        for each in opened:
            await each.close()
    raise Failure(f"lost connection to pod {pod.name}.{pod.namespace}: it is gone")


def _inside(publish: Publish) -> Endpoints:
    return tuple((address, int(publish.target_port)) for address in _LOOPBACKS[publish.protocol])


def _is(one: PodView, other: PodView) -> bool:
    """Of the same name, and of one life."""
    return (one.netns, one.created_at) == (other.netns, other.created_at)


def _suffix(port: Port) -> str:
    return "" if port.publish.protocol == "TCP" else "/udp"


def _wait_for_end(session: Session, pod: PodView) -> None:
    """Until the pod is no more, or the mesh."""
    try:
        seen = session.client.events()
        while any(_is(each, pod) for each in session.client.status().pods):
            seen = session.client.events(seen, _LOOK)
    except Unreachable:
        return
