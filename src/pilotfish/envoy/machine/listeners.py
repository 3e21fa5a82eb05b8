"""The listeners of a machine's proxy: two in each pod's network namespace, and those that they hand connections to.

    virtualOutbound~webapp-0.vm     15001 in the pod's namespace ──hands over by address──▶ 0.0.0.0_8888, of all pods
    virtualInbound~webapp-0.vm      15006 in the pod's namespace
    127.0.0.1_9080~webapp-0.vm      what a Sidecar binds there

What they hand over to is there once, and leads each connection to the chains of its pod (`chain_matcher`). Chains are
called after what they are: equal ones are one, and what comes or goes touches no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from envoy.config.listener.v3.listener_components_pb2 import FilterChain, ListenerFilter
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from xds.type.matcher.v3.matcher_pb2 import Matcher

from pilotfish.derive import Reads, query
from pilotfish.envoy.filters import HTTP_INSPECTOR, TLS_INSPECTOR
from pilotfish.envoy.layers import inbound_listeners, listener_scope
from pilotfish.envoy.listeners import outbound_listener, virtual_outbound
from pilotfish.envoy.machine.chain_matcher import by_chains, by_namespace
from pilotfish.envoy.machine.places import listen_in, mark_chain, show_certificate_of, tell_apart_listener_logs
from pilotfish.envoy.machine.seats import Home, Seats, digest, label
from pilotfish.envoy.machine.variants import credentials_in, marked, of_use, references_as, rename, renamed
from pilotfish.envoy.message import pack, serialise
from pilotfish.envoy.naming import VIRTUAL_INBOUND, counted_as
from pilotfish.envoy.types import LISTENER, ROUTE
from pilotfish.envoy.unclaimed import unclaimed
from pilotfish.envoy.values import Reference, Resource
from pilotfish.mesh.listeners.outbound import WILDCARD, binding, binding_names
from pilotfish.mesh.policy.policies import policed
from pilotfish.mesh.registry.visibility import visible
from pilotfish.mesh.routes.connections import connection_scope
from pilotfish.mesh.scope import Scope
from pilotfish.model.addresses import is_loopback
from pilotfish.model.wellknown import OUTBOUND_PORT

_INSPECTORS = (HTTP_INSPECTOR, TLS_INSPECTOR)


@query
def pod_listeners(db: Reads, home: Home, inbound_names: tuple[tuple[str, str], ...]) -> tuple[Resource, ...]:
    """Those of one pod alone. `inbound_names`: of the clusters of its ports, where they have others here."""
    told = _told(db, home.scope)
    # Without what a Sidecar binds: see `_bound`.
    inbound = () if home.draining else (inbound_listeners(db, home.inbound, home.guard)[VIRTUAL_INBOUND],)
    own = (virtual_outbound(db, unclaimed(db, told)), *_bound(db, told), *inbound)
    names = (*renamed(db, home.scope, home.inbound.certified), *inbound_names)
    return tuple(_in_pod(db, each, home, names) for each in own)


def _told(db: Reads, scope: Scope) -> Scope:
    return listener_scope(db, scope, policed(db, scope))


def _bound(db: Reads, told: Scope) -> Iterator[Resource]:
    """Where apps connect to the loopback, as a Sidecar says. Connections are handed over by their destination alone: at
    any other address, a listener of one pod would take what others send there (`problems.sidecars` says so)."""
    seen = visible(db, told)
    for name in binding_names(db, seen):
        found = binding(db, seen, name)
        is_there = found is not None and found.place.is_bound and is_loopback(found.address)
        made = _made(db, told, name) if is_there else None
        if made is not None:
            yield made


def _made(db: Reads, told: Scope, name: str) -> Resource | None:
    return outbound_listener(db, connection_scope(db, told, name), name)


def _in_pod(db: Reads, resource: Resource, home: Home, clusters: tuple[tuple[str, str], ...]) -> Resource:
    listener = Listener.FromString(resource.body)
    names = of_use(clusters, resource.references) | dict(credentials_in(home.namespace, resource.references))
    listener.name = marked(listener.name, home.pod)
    # By the address alone those of all pods would be counted as one.
    listener.stat_prefix = counted_as(home.pod, listener.address.socket_address.port_value)
    listen_in(listener, home.netns)
    for chain in _chains(listener):
        _adapt(chain, names, label(home.scope))
        show_certificate_of(chain, home.netns)
    tell_apart_listener_logs(listener)
    references = _references(resource.references, names, label(home.scope))
    return Resource.make(LISTENER, listener.name, serialise(listener), references, db.origin)


def _chains(listener: Listener) -> Iterator[FilterChain]:
    yield from listener.filter_chains
    if listener.HasField("default_filter_chain"):
        yield listener.default_filter_chain


def _adapt(chain: FilterChain, names: Mapping[str, str], scope: str) -> None:
    rename(chain, names)
    for each in chain.filters:
        manager = HttpConnectionManager()
        if scope and each.typed_config.Unpack(manager) and manager.HasField("rds"):
            manager.rds.route_config_name = marked(manager.rds.route_config_name, scope)
            each.typed_config.CopyFrom(pack(manager))
    mark_chain(chain)


def _references(references: frozenset[Reference], names: Mapping[str, str], scope: str) -> Iterator[Reference]:
    for type_url, name in references_as(references, names):
        yield (type_url, marked(name, scope) if type_url == ROUTE else name)


def unbound_names(db: Reads, seats: Seats) -> tuple[str, ...]:
    """The listeners that connections are handed over to, sorted."""
    found: set[str] = set()
    for scope in seats.scopes:
        seen = visible(db, _told(db, scope))
        found |= {name for name in binding_names(db, seen) if not _is_bound(db, seen, name)}
    return tuple(sorted(found))


def _is_bound(db: Reads, seen: Scope, name: str) -> bool:
    found = binding(db, seen, name)
    return found is None or found.place.is_bound


@query
def unbound_listener(db: Reads, seats: Seats, certified: bool, name: str) -> Resource:
    """One listener for all who see something there, and those who do not."""
    views = {scope: _view(db, scope, name) for scope in seats.scopes}
    own = [found for found in views.values() if found.name == name]
    listener = Listener.FromString(own[0].body)
    del listener.filter_chains[:], listener.listener_filters[:]
    listener.ClearField("default_filter_chain")
    chains: dict[str, FilterChain] = {}
    chosen: dict[Scope, Matcher.OnMatch] = {}
    references: set[Reference] = set()
    inspectors: set[str] = set()
    for scope, found in views.items():
        names = of_use(renamed(db, scope, certified), found.references)
        seen = Listener.FromString(found.body)
        inspectors |= {each.name for each in seen.listener_filters} if found.name == name else set()
        chosen[scope] = _choose(chains, seen, names, label(scope))
        references |= set(_references(found.references, names, label(scope)))
    listener.filter_chains.extend(chains[each] for each in sorted(chains))
    listener.filter_chain_matcher.CopyFrom(
        by_namespace(
            {prefix: chosen[scope] for prefix, scope in seats.prefixes},
            {path: chosen[scope] for path, scope in seats.paths},
        )
    )
    listener.listener_filters.extend(_inspect(inspectors))
    tell_apart_listener_logs(listener)
    return Resource.make(LISTENER, name, serialise(listener), references, db.origin)


def _view(db: Reads, scope: Scope, name: str) -> Resource:
    """What takes the connections of a client to the place of this listener: it, else the one of the port, else what
    takes all others."""
    told = _told(db, scope)
    address, _, port = name.rpartition("_")
    for each in (name, f"{WILDCARD}_{port}") if address != WILDCARD else (name,):
        if not _is_bound(db, visible(db, told), each) and (found := _made(db, told, each)) is not None:
            return found
    return virtual_outbound(db, unclaimed(db, told))


def _choose(chains: dict[str, FilterChain], seen: Listener, names: Mapping[str, str], scope: str) -> Matcher.OnMatch:
    """Adds one client's chains, and says which takes what of its connections."""
    told = [chain for chain in seen.filter_chains if not _is_loop(chain)]
    named = [_add(chains, chain, names, scope) for chain in told]
    rest = _add(chains, seen.default_filter_chain, names, scope) if seen.HasField("default_filter_chain") else None
    return by_chains(named, rest.name if rest is not None else "")


def _is_loop(chain: FilterChain) -> bool:
    return bool(chain.filter_chain_match.destination_port.value == OUTBOUND_PORT)


def _add(chains: dict[str, FilterChain], chain: FilterChain, names: Mapping[str, str], scope: str) -> FilterChain:
    """The chain, with the name that it has here and with what is said of whom it is for."""
    made, called = FilterChain(), FilterChain(filter_chain_match=chain.filter_chain_match)
    made.CopyFrom(chain)
    made.ClearField("filter_chain_match")
    _adapt(made, names, scope)
    called.name = made.name = marked(chain.name, digest(serialise(made)))
    chains[made.name] = made
    return called


def _inspect(names: set[str]) -> Sequence[ListenerFilter]:
    return [each for each in _INSPECTORS if each.name in names]
