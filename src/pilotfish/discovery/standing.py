"""Where each proxy stands with what it should have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pilotfish.discovery.findings import Finding, failures, refusers, rejections
from pilotfish.discovery.plane import ControlPlane
from pilotfish.discovery.session import ProxySession
from pilotfish.envoy.types import SHOWN
from pilotfish.model.sync import Sync


@dataclass(frozen=True, slots=True)
class Standing:
    proxy: str
    """`name.namespace`."""
    types: Mapping[str, Sync]
    """By short name (`cds`)."""
    error: str
    """What is wrong with what it refused."""


def standings(plane: ControlPlane) -> Iterator[Standing]:
    """Of every connected proxy. A refusal stands as long as its cause does, though all else is in step."""
    refused = (*rejections(plane), *refusers(plane), *failures(plane))
    for session in plane.roster.sessions.values():
        mine = [finding for finding in refused if session.proxy.id in finding.proxies]
        yield _standing(session, mine, session.id in plane.roster.failed)


def _standing(session: ProxySession, mine: list[Finding], is_failed: bool) -> Standing:
    refused = {finding.type_url for finding in mine}
    states = {row.short: Sync.REFUSED if row.url in refused else session.stream.sync(row.url) for row in SHOWN}
    if is_failed:  # what it acknowledged is not what it should have
        states = {short: Sync.STALE if state is Sync.SYNCED else state for short, state in states.items()}
    errors = [str(finding.problem) for finding in mine] or [
        watch.error for watch in session.stream.watches.values() if watch.refused
    ]
    return Standing(str(session.proxy), states, "; ".join(errors))
