"""All that is wrong: with what the source read, with objects, and with what Envoy refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pilotfish.config.manifest import locate
from pilotfish.discovery.changed import changed_field
from pilotfish.discovery.plane import ControlPlane
from pilotfish.discovery.registration import unregistered, unregistrable
from pilotfish.discovery.rejection import Rejection
from pilotfish.envoy.types import short
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.kinds import AUTHORIZATION_POLICY, REQUEST_AUTHENTICATION
from pilotfish.model.proxy import NodeId

_PRINTED = re.compile(r"\): \w+(?:: | \{).*")
_DUMP = "goo.gle/debug"
"""So Envoy begins where it prints a large resource before the reason, of which nothing comes then: it sends 4 KB."""
_LONGEST = 300
"""Characters of Envoy's that are quoted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem, and where it is one that Envoy reported, which type it concerns and who did."""

    problem: Problem
    type_url: str = ""
    proxies: frozenset[str] = frozenset()
    """Node ids."""


def findings(plane: ControlPlane, today: float = 0.0) -> tuple[Finding, ...]:
    """All of them, each once. `today`: seconds since the epoch, by which some certificates may have expired."""
    manifests = plane.mesh.desired.manifests
    between = (locate(p, manifests.get(p.ref) if p.ref else None) for p in _between(plane, today))
    members = plane.members.values()
    refused = unregistrable(manifests, members) if plane.door.in_cluster else ()
    found = dict.fromkeys((*plane.mesh.desired.problems, *between, *unregistered(manifests, members), *refused))
    of_proxies = (*rejections(plane), *refusers(plane), *slow(plane), *failures(plane))
    return (*of_proxies, *(Finding(problem) for problem in found))


def rejections(plane: ControlPlane) -> Iterator[Finding]:
    """What Envoy refused."""
    for ref, rejection in sorted(plane.quarantine.rejected.items()):
        manifest = plane.mesh.desired.manifests.get(ref)
        words = words_about(rejection.name, rejection.message)
        good = plane.mesh.last_good(ref)
        force = "its last good form stays in force" if good else _without(ref)
        until = f"{force} until it, or what it is used with, is changed"
        message = f"Envoy refuses what follows from it ({_what(rejection)}): {words}; {until}"
        field = changed_field(good.document, manifest.document) if good and manifest else ""
        source = manifest.at(field) if manifest else None
        yield _finding(Problem(ref, field, "RefusedByEnvoy", message, source=source), rejection)
    for rejection in plane.quarantine.unexplained.values():
        words = words_about(rejection.name, rejection.message)
        message = (
            f"Envoy refuses {_what(rejection)}: {words}; what the proxies have of it stays in force, "
            "and no single object explains it: undo the latest change, of the meshConfig too"
        )
        yield _finding(Problem(None, "", "RefusedByEnvoy", message), rejection)


def _without(ref: ObjectRef) -> str:
    """What becomes of a refused object of which there is no good form."""
    closes = ref.kind in (AUTHORIZATION_POLICY, REQUEST_AUTHENTICATION)
    return "nothing passes where it holds" if closes else "it is not used"


def refusers(plane: ControlPlane) -> Iterator[Finding]:
    """The proxies that refuse what most others took: they are to blame, not the objects."""
    for proxy, refused in plane.quarantine.convicted.items():
        session = plane.roster.find(proxy)
        for (type_url, name), nack in refused.items():
            watch = session.stream.watches.get(type_url) if session else None
            if watch is None or watch.refused.get(name) != nack.version:
                continue
            message = (
                f"proxy {pod_of(proxy)} refuses {short(type_url).upper()} {name}, which others have accepted: "
                f"{words_about(name, nack.message)}; it keeps what it has of it, and the objects stay in force; "
                "see its log, and restart its pod"
            )
            yield Finding(Problem(None, "", "RefusedByProxy", message), type_url, frozenset((proxy,)))


def slow(plane: ControlPlane) -> Iterator[Finding]:
    """The proxies that nobody waits for any more, and those that were cut off."""
    cut_off = {cut.proxy for cut in plane.door.cut}
    for proxy in sorted(cut_off):
        message = (
            f"proxy {pod_of(proxy)} took nothing of what it was sent, was cut off, and is not served for a while; it "
            "keeps what it has; see whether it runs, and what else connects as it"
        )
        yield Finding(Problem(None, "", "ProxyCutOff", message), proxies=frozenset((proxy,)))
    for proxy in sorted({session.proxy.id for session in plane.roster.slow.values()} - cut_off):
        message = (
            f"proxy {pod_of(proxy)} does not acknowledge what it was sent; nobody waits for it any more, and it is cut "
            "off if it stays so; see whether it runs, and what else connects as it"
        )
        yield Finding(Problem(None, "", "ProxySlow", message), proxies=frozenset((proxy,)))


def pod_of(node_id: str) -> str:
    """`name.namespace`."""
    found = NodeId.parse(node_id)
    return found.pod if found else node_id


def _between(plane: ControlPlane, today: float) -> tuple[Problem, ...]:
    """What is wrong between objects."""
    try:
        return plane.mesh.problems(today)
    except Exception as error:  # a bug: what else is wrong is to be said all the same
        message = f"a fault in pilotfish: what is wrong between objects can't be told ({_repr(error)})"
        return (Problem(None, "", "InternalError", message),)


def failures(plane: ControlPlane) -> Iterator[Finding]:
    """The objects with which something can't be computed, and the proxies for which it can't be, by what goes wrong."""
    for ref, error in sorted({**plane.mesh.untaken, **plane.faulty}.items(), key=lambda item: item[0]):
        manifest = plane.mesh.desired.manifests.get(ref)
        force = "its last good form stays in force" if plane.mesh.last_good(ref) else "it is not used"
        said = f"what follows from it can't be computed ({_repr(error)})"
        message = (
            f"a fault in pilotfish: {said}; {force} until it is changed; all else goes on (discovery.log says more)"
        )
        yield Finding(Problem(ref, "", "InternalError", message, source=manifest.source if manifest else None))
    proxies: dict[str, set[str]] = {}
    for id, error in plane.roster.failed.items():
        proxies.setdefault(_repr(error), set()).add(plane.roster.sessions[id].proxy.id)
    if plane.broken is not None:
        what = f"the latest change is not, or not wholly, in force ({_repr(plane.broken)})"
        message = f"a fault in pilotfish: {what}; undo it (discovery.log says more)"
        yield Finding(Problem(None, "", "InternalError", message))
    for why, ids in proxies.items():
        message = (
            f"a fault in pilotfish: what {len(ids)} proxies should have can't be computed ({why}), so that they keep "
            "what they have; undo the latest change (discovery.log says more)"
        )
        yield Finding(Problem(None, "", "InternalError", message), proxies=frozenset(ids))


def _repr(error: Exception) -> str:
    return repr(error).encode(errors="backslashreplace").decode()[:200]


def _finding(problem: Problem, rejection: Rejection) -> Finding:
    return Finding(problem, rejection.type_url, rejection.proxies)


def _what(rejection: Rejection) -> str:
    return f"{short(rejection.type_url).upper()} {rejection.name}"


def words_about(name: str, message: str) -> str:
    """The line of Envoy's words that is about the resource: without the chain of what led to it, and without the
    resource itself, which Envoy prints whole where a value of it is out of bounds."""
    if message.startswith(_DUMP):
        return "a value is out of its bounds; Envoy prints all of it, and is cut off before it says which"
    lines = [line.strip() for line in message.splitlines() if line.strip()] or ["it does not say why"]
    about = [] if _PRINTED.search(lines[0]) else [line for line in lines if name in line]
    line = next(iter(about), lines[0])
    head, _, cause = line.rpartition("| caused by ")
    if head:
        line = f"{head.partition('(')[0].strip()} ({cause}" if "(" in head else cause
    line = _PRINTED.sub(")", line)
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
