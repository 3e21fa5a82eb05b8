"""What two pods see otherwise by one name has another name: `outbound|8888||calculator.vm.svc.cluster.local~3f2a91c0`.

As a rule all see the same cluster of a service, which then has its usual name. One that somebody sees otherwise than
everybody does (another DestinationRule, credentials of its own, fewer ports) is called after what makes it so; who sees
the same shares it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from pilotfish.derive import Reads, query
from pilotfish.envoy.layers import host_clusters
from pilotfish.envoy.machine.seats import digest
from pilotfish.envoy.message import serialise
from pilotfish.envoy.secrets import secret_names
from pilotfish.envoy.types import CLUSTER
from pilotfish.envoy.values import Reference, Resource
from pilotfish.mesh.policy.credentials import keyring
from pilotfish.mesh.policy.policies import policed, rules_for
from pilotfish.mesh.registry.visibility import home, hosts, ports_seen, visible
from pilotfish.mesh.scope import EVERYONE, Scope
from pilotfish.mesh.settings import settings
from pilotfish.model.credential import is_config_map

Names = tuple[tuple[str, str], ...]
"""(as a pod's own proxy would call it, as it is called here)."""

_NOT_NAMES: Final = frozenset({"stat_prefix", "alt_stat_name"})
"""What is counted under a cluster's name stays so."""


@query
def variant(db: Reads, scope: Scope, host: str) -> str:
    """What a host's clusters and endpoints are called after, beside their names; "" for those that everybody sees.
    `scope`: as `policed` says."""
    told, usual = _told(db, scope, host), _usual(db, host)
    return "" if told == usual else digest(told)


@query
def _usual(db: Reads, host: str) -> tuple[Any, ...] | None:
    everyone = policed(db, EVERYONE)
    return _told(db, everyone, host) if host in hosts(db, visible(db, everyone)) else None


def _told(db: Reads, scope: Scope, host: str) -> tuple[Any, ...]:
    """All by which the clusters of a host may differ."""
    rules = rules_for(db, scope, host)
    return home(db, scope, host), ports_seen(db, scope, host), rules, keyring(db, scope, rules), scope.place


def clusters_of(db: Reads, scope: Scope, host: str, certified: bool) -> tuple[Resource, ...]:
    """As a pod's own proxy would have them. `scope`: as `policed` says."""
    return host_clusters(db, scope, host, certified, settings(db).at_sidecars.cluster_buffer)


@query
def renamed(db: Reads, scope: Scope, certified: bool) -> Names:
    """The clusters of a scope that have another name here, sorted."""
    rules = policed(db, scope)
    peculiar = ((host, mark) for host in hosts(db, visible(db, rules)) if (mark := variant(db, rules, host)))
    return tuple(
        sorted(
            (each.name, marked(each.name, mark))
            for host, mark in peculiar
            for each in clusters_of(db, rules, host, certified)
        )
    )


def marked(name: str, mark: str) -> str:
    return f"{name}~{mark}" if mark else name


def credentials_in(namespace: str, references: Iterable[Reference]) -> Names:
    """Secrets are of one namespace, whose name here says which; a ConfigMap is whoever's reads it."""
    named = (name for name in secret_names(references) if not is_config_map(name))
    return tuple(sorted((name, marked(name, namespace)) for name in named))


def references_as(references: Iterable[Reference], names: Mapping[str, str]) -> Iterable[Reference]:
    """With the names that they have here."""
    return ((type_url, names.get(name, name)) for type_url, name in references)


def of_use(names: Names, references: Iterable[Reference]) -> dict[str, str]:
    """Those of the clusters that a resource names."""
    if not names:
        return {}
    named = {name for type_url, name in references if type_url == CLUSTER}
    return {old: new for old, new in names if old in named}


def rename(message: Message, names: Mapping[str, str]) -> bool:
    """In place, wherever one of these is said, also in what is packed. True if anything was."""
    if not names:
        return False
    if isinstance(message, AnyMessage):
        return _rename_packed(message, names)
    changed = False
    for field, value in message.ListFields():
        if field.message_type is not None:
            for each in _messages(field, value):
                changed |= rename(each, names)
        elif field.type == field.TYPE_STRING and field.name not in _NOT_NAMES:
            changed |= _rename_text(message, field, value, names)
    return changed


def _messages(field: Any, value: Any) -> Iterable[Message]:
    if not field.is_repeated:
        return (value,)
    if field.message_type.GetOptions().map_entry:
        kind = field.message_type.fields_by_name["value"].message_type
        return tuple(value[key] for key in value) if kind is not None else ()
    return tuple(value)


def _rename_text(message: Message, field: Any, value: Any, names: Mapping[str, str]) -> bool:
    if not field.is_repeated:
        if value not in names:
            return False
        setattr(message, field.name, names[value])
        return True
    found = [names.get(each, each) for each in value]
    changed = found != list(value)
    value[:] = found
    return changed


def _rename_packed(packed: AnyMessage, names: Mapping[str, str]) -> bool:
    """What nobody here knows the type of names no cluster."""
    try:
        described = descriptor_pool.Default().FindMessageTypeByName(packed.TypeName())
    except KeyError:
        return False
    found = message_factory.GetMessageClass(described)()
    found.ParseFromString(packed.value)
    if not rename(found, names):
        return False
    packed.value = serialise(found)
    return True
