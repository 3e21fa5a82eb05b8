"""A running mesh as requests meet it: the rules that its kernel holds, and what its Envoys say of themselves.

Each pod is asked when a way comes to it. Names and Services are those that the mesh holds now.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Set
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pilotfish.cli.envoy_admin import read_json
from pilotfish.cli.live_world import read_world
from pilotfish.cli.session import Session
from pilotfish.explain.held import Held
from pilotfish.explain.scene import Family, Scene, Station
from pilotfish.model import ObjectRef, Source
from pilotfish.node.listening import parse_proc_net
from pilotfish.offline.owners import describe_subset, find_owners
from pilotfish.offline.scene import build_scene
from pilotfish.offline.world import World
from pilotfish.runtime import capture
from pilotfish.runtime.control.views import PodView, StatusView
from pilotfish.runtime.linux.netns import NetNs

if TYPE_CHECKING:
    from pilotfish.capture import RuleSet
    from pilotfish.explain.owner import FindOwners


def read_scene(session: Session, status: StatusView) -> tuple[Scene, FindOwners]:
    world = read_world(session)
    planned = build_scene(world)
    pods = {f"{pod.name}.{pod.namespace}": pod for pod in status.pods}
    found = ((name, pod) for name, pod in pods.items() if name in planned.stations)
    stations = {name: _station(world, pod, planned.stations[name]) for name, pod in found}

    def locate(ref: ObjectRef, field: str) -> Source | None:
        return Source.parse(session.client.source(ref, field))

    return replace(planned, stations=stations, outside=_resolve), lambda trace: find_owners(world, trace, locate)


def _resolve(name: str) -> tuple[str, ...]:
    try:
        found = socket.getaddrinfo(f"{name}.", None, socket.AF_INET, socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


def _station(world: World, pod: PodView, planned: Station) -> Station:
    return Station(
        name=planned.name,
        namespace=planned.namespace,
        addresses=pod.addresses,
        captured=pod.captured and not planned.is_gateway,
        _rules=partial(_rules, pod),
        _held=partial(_held, world, pod),
        _names=lambda: planned.names,
        _listening=partial(_listening, pod),
        is_gateway=planned.is_gateway,
        identity=planned.identity,
    )


def _rules(pod: PodView, family: Family) -> RuleSet:
    return asyncio.run(capture.read(NetNs(Path(pod.netns)), family))


def _held(world: World, pod: PodView) -> Held | None:
    if not pod.captured:
        return None
    dump, clusters = read_json(pod, "/config_dump?include_eds"), read_json(pod, "/clusters?format=json")
    return Held.of_dump(dump, clusters, partial(describe_subset, world))


def _listening(pod: PodView) -> Set[tuple[str, int]] | None:
    """Of the pod's network namespace, whose every process shows the same."""
    for pid in NetNs(Path(pod.netns)).pids():
        try:
            texts = [Path(f"/proc/{pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
        except OSError:
            continue
        return {(str(address), port) for text in texts for address, port in parse_proc_net(text)}
    return None
