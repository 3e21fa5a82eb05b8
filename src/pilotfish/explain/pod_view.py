"""What one pod uses of all that its machine's proxy holds.

    /config_dump ─narrow_dump─▶ a dump of the same form: the listeners in the pod's network namespace, those that they
                                hand over to with the chains that the pod's connections come to, and what these lead to

The same of `/clusters?format=json` (`narrow_clusters`), and of resources as they would be sent (`narrow`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from envoy.config.listener.v3.listener_pb2 import Listener
from google.protobuf.json_format import ParseDict

from pilotfish.envoy.filter_state import NETNS
from pilotfish.envoy.naming import MESH_ROOTS
from pilotfish.envoy.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from pilotfish.explain.chain_matcher import Reachable, reachable
from pilotfish.explain.extensions import known
from pilotfish.explain.filter_state import StateValue
from pilotfish.explain.held import SECTIONS, Json, named

_SECRETS: Final = ("dynamic_active_secrets", "dynamic_warming_secrets", "static_secrets")
_INLINE: Final = "static_route_configs"
_ASKING: Final = ("sds_config", "config_source")
"""Fields of where Envoy asks for more."""
_ASKED: Final = {
    "the network namespace": "Netns",
    "the destination address": "Addr",
    "the server name": "SNI",
    "the transport": "Trans",
    "the protocol": "App",
}
"""What a matcher may ask for, as tables of chains call it."""


@dataclass(frozen=True, slots=True)
class Used:
    listeners: Mapping[str, Json]
    """By name, each with the chains that the pod's connections come to."""
    routes: frozenset[str]
    inline: Counter[str]
    """Those that stand in listeners, whole: several have one name."""
    clusters: frozenset[str]
    """Those that are led to, and the others of the same hosts."""
    secrets: frozenset[str]


def find_used(resources: Mapping[str, Iterable[Json]], netns: str) -> Used:
    """`resources`: a machine's, by type. `netns`: the file of the pod's network namespace."""
    listeners = {
        each["name"]: found for each in resources[LISTENER] if (found := _narrow_listener(each, netns)) is not None
    }
    by_chains = set(_texts(list(listeners.values())))
    routes = [each for each in resources[ROUTE] if each.get("name", "") in by_chains]
    said = by_chains | set(_texts(routes))
    hosts = {_host(name) for name in said if _host(name)}
    clusters = [each for each in resources[CLUSTER] if _name(each) in said or _host(_name(each)) in hosts]
    secrets = {MESH_ROOTS, netns, *_secrets([*listeners.values(), *clusters])}
    inline = Counter(map(_as_text, _inline_routes(list(listeners.values()))))
    return Used(listeners, _names(routes), inline, _names(clusters), frozenset(secrets))


def narrow(resources: Mapping[str, Iterable[Json]], netns: str) -> dict[str, list[Json]]:
    """`resources`: as discovery makes them for a machine, by type."""
    used = find_used(resources, netns)
    names = {ROUTE: used.routes, CLUSTER: used.clusters, ENDPOINT: used.clusters, SECRET: used.secrets}
    return {
        type_url: list(used.listeners.values())
        if type_url == LISTENER
        else [each for each in found if _name(each) in names[type_url]]
        for type_url, found in resources.items()
    }


def describe_asked(listener: Json, netns: str = "") -> Mapping[str, str]:
    """What a listener's matcher asks of a connection that is to come to each of its chains: `Trans: tls`, by the
    chain's name. `netns`: of the pod whose it is; "" for any."""
    found = reachable(_parse(listener), {NETNS: StateValue(netns or None)})
    return {each.chain.name: _say_asked(each) for each in found}


def narrow_dump(dump: Json, netns: str) -> Json:
    """`dump`: /config_dump?include_eds of a machine's proxy."""
    held = {each: [found for _, found in named(dump, each)] for each in (LISTENER, ROUTE, CLUSTER)}
    used = find_used(held, netns)
    return {**dump, "configs": [_narrow_config(config, used) for config in dump.get("configs", ())]}


def narrow_clusters(told: Json, dump: Json) -> Json:
    """`told`: /clusters?format=json. `dump`: as `narrow_dump` makes it."""
    names = {name for name, _ in named(dump, CLUSTER)}
    return {"cluster_statuses": [each for each in told.get("cluster_statuses", ()) if each.get("name", "") in names]}


def _narrow_config(config: Json, used: Used) -> Json:
    kept = dict(config)
    for type_url, sections in SECTIONS.items():
        for section, path in sections:
            if section == _INLINE and section in config:
                kept[section] = list(_narrow_inline(config[section], used))
            elif section in config:
                narrowed = (_narrow_entry(each, type_url, path, used) for each in config[section])
                kept[section] = [each for each in narrowed if each is not None]
    for section in _SECRETS:
        if section in config:
            kept[section] = [each for each in config[section] if each.get("name", "") in used.secrets]
    return kept


def _narrow_inline(entries: Iterable[Json], used: Used) -> Iterator[Json]:
    left = used.inline.copy()
    for each in entries:
        said = _as_text(each.get("route_config", {}))
        if left[said]:
            left[said] -= 1
            yield each


def _narrow_entry(entry: Json, type_url: str, path: tuple[str, ...], used: Used) -> Json | None:
    found: Any = entry
    for part in path:
        found = found.get(part) or {}
    name = _name(found)
    if type_url == LISTENER:
        return _put(entry, path, used.listeners[name]) if name in used.listeners else None
    names = {ROUTE: used.routes, CLUSTER: used.clusters, ENDPOINT: used.clusters}[type_url]
    return entry if name in names else None


def _put(entry: Json, path: tuple[str, ...], value: Json) -> Json:
    first, *rest = path
    return {**entry, first: _put(entry[first], tuple(rest), value) if rest else value}


def _narrow_listener(listener: Json, netns: str) -> Json | None:
    """None for one that is no pod's, another's, or has nothing for this one."""
    at = listener.get("address", {}).get("socket_address", {}).get("network_namespace_filepath", "")
    if at:
        return listener if at == netns else None
    if listener.get("bind_to_port", True):
        return None
    found = list(reachable(_parse(listener), {NETNS: StateValue(netns)}))
    names = {each.chain.name for each in found}
    chains = [each for each in listener.get("filter_chains", ()) if each.get("name", "") in names]
    kept = {key: value for key, value in listener.items() if key != "default_filter_chain"}
    default = listener.get("default_filter_chain")
    rest = {"default_filter_chain": default} if default and default.get("name", "") in names else {}
    return {**kept, "filter_chains": chains, **rest} if chains or rest else None


def _parse(listener: Json) -> Listener:
    return ParseDict(known(listener), Listener(), ignore_unknown_fields=True)


def _say_asked(found: Reachable) -> str:
    """`Trans: raw_buffer; App: http/1.1,h2c`, as far as it says more than whose connection it is."""
    told = (f"{_ASKED.get(name, name)}: {','.join(map(_plain, values))}" for name, values in found.asked.items())
    return "; ".join(told)


def _plain(value: str) -> str:
    """Protocols are asked for in quotes."""
    return value.strip("'")


def _host(cluster: str) -> str:
    """Of `outbound|80|v1|web.vm.svc.cluster.local`, of whose clusters routes lead to some: all of them are seen."""
    return cluster.rpartition("|")[2] if cluster.startswith("outbound|") else ""


def _names(resources: Iterable[Json]) -> frozenset[str]:
    return frozenset(map(_name, resources))


def _name(resource: Json) -> str:
    return str(resource.get("name") or resource.get("cluster_name", ""))


def _texts(value: Any) -> Iterator[str]:
    """All that is said in it, but of where Envoy itself asks."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if key not in _ASKING:
                yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _secrets(value: Any) -> Iterator[str]:
    """The names of those that it asks for."""
    for each in _objects(value):
        if "sds_config" in each:
            yield each.get("name", "")


def _inline_routes(value: Any) -> Iterator[Json]:
    for each in _objects(value):
        if isinstance(each.get("route_config"), dict):
            yield each["route_config"]


def _objects(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(each)


def _as_text(config: Json) -> str:
    """Equal for equal ones."""
    return json.dumps({key: value for key, value in config.items() if key != "@type"}, sort_keys=True)
