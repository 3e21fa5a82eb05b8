"""The request behind an entry of an access log, and which fields of which objects decided what became of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pilotfish.envoy.message import config_path
from pilotfish.explain.accesslog import AccessLogEntry
from pilotfish.explain.ask import Ask, parse
from pilotfish.explain.flags import FLAGS, Field
from pilotfish.explain.owner import FindOwner, Owner
from pilotfish.explain.scene import Scene
from pilotfish.explain.trace import Trace
from pilotfish.model.kinds import SERVICE
from pilotfish.model.wellknown import SERVICE_DOMAIN


def is_about(entry: AccessLogEntry, word: str) -> bool:
    """`503`, or `UH`."""
    return word == str(entry.response_code) or word in entry.response_flags


def ask_of(entry: AccessLogEntry) -> Ask:
    """What was asked, at the address that the client meant. What the log does not have is left out: headers."""
    place, name = entry.downstream_local_address, entry.requested_server_name
    source = entry.downstream_remote_address.rpartition(":")[0].strip("[]")
    if not entry.method:
        return parse(f"tcp://{place}", sni=name, source=source)
    headers: Iterable[str] = (f"Host: {entry.authority}",)
    return parse(
        f"{'https' if name else 'http'}://{place}{entry.path}",
        method=entry.method,
        headers=headers,
        sni=name,
        http2=entry.protocol == "HTTP/2",
        source=source,
    )


def find_changes(
    scene: Scene, trace: Trace, entry: AccessLogEntry, find_owner: FindOwner
) -> Iterator[tuple[Owner, str]]:
    """(object on the request's way, field of it that decides a flag), the likeliest first.

    The flags are those of the entry; where it has none, as another proxy answered, those that the way ends with.
    """
    services = (config_path(SERVICE.ref(*each)) for each in _services(scene, trace, entry))
    found = [(find_owner(step.owner), find_owner(step.owner, step)) for step in trace.steps if step.owner]
    found += [(owner, owner) for owner in map(find_owner, services)]
    flags = entry.response_flags or tuple(dict.fromkeys(outcome.flag for outcome in trace.outcomes))
    fields = (field for flag in flags if flag in FLAGS for field in FLAGS[flag].fields)
    changes = (
        _place(whole, part, field)
        for field in fields
        for whole, part in found
        if whole is not None and part is not None and whole.kind == field.kind
    )
    return iter(dict.fromkeys(changes))


def _place(whole: Owner, part: Owner, field: Field) -> tuple[Owner, str]:
    """`spec.http[1].timeout` of `spec.http[].timeout`, where it is known which."""
    every = re.sub(r"\d+", "", part.field)
    if not every or every not in field.path:
        return whole, field.path
    return part, field.path.replace(every, part.field)


def _services(scene: Scene, trace: Trace, entry: AccessLogEntry) -> Iterator[tuple[str, str]]:
    """(namespace, name) of the Services that clusters are named after, or that have the endpoints."""
    for cluster in (entry.upstream_cluster, *(outcome.cluster for outcome in trace.outcomes)):
        name, _, namespace = cluster.rpartition("|")[2].partition(".")
        if namespace.endswith(f".{SERVICE_DOMAIN}"):
            yield namespace.removesuffix(f".{SERVICE_DOMAIN}"), name
    places = {entry.upstream_host, *(outcome.endpoint for outcome in trace.outcomes)}
    for each in scene.frontends:
        if places & {f"{address}:{port}" for address, port in each.endpoints}:
            yield each.namespace, each.service
