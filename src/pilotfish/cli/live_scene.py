"""A running mesh as requests meet it: the rules that its kernel holds, and what its Envoys say of themselves.

Each pod is asked when a way comes to it, and only for what the way needs.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Mapping, Set
from functools import cached_property, partial
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pilotfish.cli.envoy_admin import read_json
from pilotfish.cli.session import Session
from pilotfish.explain.held import SECTIONS, Held, Json
from pilotfish.explain.scene import Family, Scene, Station
from pilotfish.model import ObjectRef, Source
from pilotfish.node.listening import parse_proc_net
from pilotfish.runtime.control.client import Client
from pilotfish.runtime.control.views import PodView, StatusView
from pilotfish.runtime.linux.netns import NetNs

if TYPE_CHECKING:
    from pilotfish.capture import RuleSet
    from pilotfish.explain.owner import FindOwners, Owners
    from pilotfish.explain.trace import Trace
    from pilotfish.offline.world import World


class _Known:
    """What the mesh's objects lead to, which takes longer than a way: only whose its steps are needs it."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @cached_property
    def world(self) -> World:
        from pilotfish.cli.live_world import read_world

        return read_world(self._session)

    def owners(self, trace: Trace) -> Owners:
        from pilotfish.offline.owners import find_owners

        return find_owners(self.world, trace, self._locate)

    def describe_subset(self, config: str, name: str) -> str:
        from pilotfish.offline.owners import describe_subset

        return describe_subset(self.world, config, name)

    def _locate(self, ref: ObjectRef, field: str) -> Source | None:
        return Source.parse(self._session.client.source(ref, field))


def read_scene(session: Session, status: StatusView) -> tuple[Scene, FindOwners]:
    known = _Known(session)
    stations = {f"{pod.name}.{pod.namespace}": _station(session.client, known, pod) for pod in status.pods}
    subnets = tuple(session.mesh.pod_subnets)
    scene = Scene(stations, lambda: tuple(session.client.frontends()), _resolve, is_closed=partial(_is_closed, subnets))
    return scene, known.owners


def _is_closed(subnets: tuple[str, ...], address: str) -> bool:
    """It is neither the node's nor the machine's: pods reach nothing else."""
    from pilotfish.node.services import DNS_ADDRESS
    from pilotfish.runtime.net.subnets import Subnets

    numbers = (ip_network(each).network_address.packed[1] for each in subnets if "." in each)
    found = (Subnets(number) for number in numbers)
    open_ = {str(each) for subnet in found for each in (*subnet.node, *subnet.host)}
    return address not in open_ | {DNS_ADDRESS}


def _resolve(name: str) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(f"{name}.", None, socket.AF_INET, socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


def _station(client: Client, known: _Known, pod: PodView) -> Station:
    return Station(
        name=f"{pod.name}.{pod.namespace}",
        namespace=pod.namespace,
        addresses=pod.addresses,
        captured=pod.captured and not pod.gateway,
        _rules=partial(_rules, pod),
        _held=partial(_held, known, pod),
        _names=partial(client.names, pod.namespace, pod.name),
        _listening=partial(_listening, pod),
        is_gateway=pod.gateway,
        _identity=partial(_identity, pod),
    )


def _rules(pod: PodView, family: Family) -> RuleSet:
    from pilotfish.runtime import capture

    return asyncio.run(capture.read(NetNs(Path(pod.netns)), family))


def _identity(pod: PodView) -> str:
    return find_identity(read_json(pod, "/certs")) if pod.captured else ""


def find_identity(held: Mapping[str, Any]) -> str:
    """Who a proxy is to others, by the certificates that it says it has (`/certs`); "" if it is nobody."""
    chains = (each for pair in held.get("certificates", ()) for each in pair.get("cert_chain", ()))
    names = (name.get("uri", "") for each in chains for name in each.get("subject_alt_names", ()))
    return next((name for name in names if name.startswith("spiffe://")), "")


def _held(known: _Known, pod: PodView) -> Held | None:
    if not pod.captured:
        return None
    return Held.of_asked(
        lambda: read_json(pod, "/listeners?format=json"),
        partial(_find, pod),
        lambda cluster: read_json(pod, f"/clusters?format=json&filter={_exactly(cluster)}"),
        known.describe_subset,
    )


def _find(pod: PodView, type_url: str, name: str) -> Json:
    found: Json = {}
    for section, _ in SECTIONS[type_url]:
        found = read_json(pod, f"/config_dump?include_eds&resource={section}&name_regex={_exactly(name)}")
        if found.get("configs"):
            break
    return found


def _exactly(name: str) -> str:
    return quote(f"^{re.escape(name)}$", safe="")


def _listening(pod: PodView) -> Set[tuple[str, int]] | None:
    """Of the pod's network namespace, whose every process shows the same."""
    for pid in NetNs(Path(pod.netns)).pids():
        try:
            texts = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
        except OSError:
            continue
        return {(str(address), port) for text in texts for address, port in parse_proc_net(text)}
    return None
