"""The request behind an entry of an access log, and which fields of which objects decided what became of it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from pilotfish.envoy.mutual_tls import MESH_HTTP, MESH_TCP
from pilotfish.explain.accesslog import AccessLogEntry
from pilotfish.explain.ask import Ask, parse
from pilotfish.explain.call import Tls
from pilotfish.explain.flags import FLAGS
from pilotfish.explain.owner import Owner, Owners
from pilotfish.explain.trace import Trace
from pilotfish.mesh.hosts import SERVER_NAME_PREFIX

_LISTED: Final = re.compile(r"(spec\.\w+)\[\]")


def is_about(entry: AccessLogEntry, word: str) -> bool:
    """`503`, or `UH`."""
    return word == str(entry.response_code) or word in entry.response_flags


def ask_of(entry: AccessLogEntry) -> Ask:
    """What was asked, at the address that the client meant. What the log does not have is left out: headers."""
    place, name = entry.downstream_local_address, entry.requested_server_name
    source = entry.downstream_remote_address.rpartition(":")[0].strip("[]")
    # What a proxy of the mesh asks for, and no app: its TLS is ended where this was logged.
    mesh, name = (name, "") if name.startswith(SERVER_NAME_PREFIX) else ("", name)
    if not entry.method:
        asked = parse(f"tcp://{place}", sni=name, source=source)
        return replace(asked, tls=Tls(mesh, MESH_TCP, of_mesh=True)) if mesh else asked
    headers: Iterable[str] = (f"Host: {entry.authority}",)
    asked = parse(
        f"{'https' if name else 'http'}://{place}{entry.path}",
        method=entry.method,
        headers=headers,
        sni=name,
        http2=entry.protocol == "HTTP/2",
        source=source,
    )
    asked = replace(asked, went_to=entry.upstream_cluster)
    return replace(asked, tls=Tls(mesh, MESH_HTTP, of_mesh=True)) if mesh else asked


def find_changes(trace: Trace, entry: AccessLogEntry, owners: Owners) -> Iterator[tuple[Owner, str]]:
    """(object on the request's way, field of it that decides a flag), the likeliest first.

    The flags are those of the entry; where it has none, as another proxy answered, those that the way ends with. Of
    rules, ports and subsets that is meant which the way took; where none was, no line is known.
    """
    flags = entry.response_flags or dict.fromkeys(flag for each in trace.outcomes for flag in each.flags)
    for field in (field for flag in flags if flag in FLAGS for field in FLAGS[flag].fields):
        found: dict[str, tuple[Owner, str]] = {}
        for owner in (each for each in owners.values() if each.kind == field.kind):
            path = _taken(field.path, owner.field)
            if owner.object not in found or path != field.path:
                known = path != field.path or owner.field == path
                found[owner.object] = (owner if known else replace(owner, file="", line=0), path)
        yield from found.values()


def _taken(path: str, field: str) -> str:
    """`spec.ports[].targetPort`, as `spec.ports[1]` was taken: `spec.ports[1].targetPort`."""

    def fill(listed: re.Match[str]) -> str:
        index = re.match(rf"{re.escape(listed[1])}(\[\d+\])", field)
        return f"{listed[1]}{index[1]}" if index is not None else listed[0]

    return _LISTED.sub(fill, path)
