"""One call's way through one proxy: listener, filter chain, route, cluster, endpoint. Pure, on what the proxy holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)
from envoy.extensions.filters.network.set_filter_state.v3.set_filter_state_pb2 import Config as FilterState
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext

from pilotfish.envoy.filter_state import NETNS
from pilotfish.envoy.naming import OURS, READ, READS
from pilotfish.explain.actions import describe, redirect, rewrite
from pilotfish.explain.call import Application, Call, Failure
from pilotfish.explain.certificates import is_of_mesh, shown_secret, told
from pilotfish.explain.choice import Choice
from pilotfish.explain.filter_state import StateValue, apply_filter
from pilotfish.explain.forward import Forwarded, forward
from pilotfish.explain.guards import (
    Noted,
    client_address,
    find_believers,
    is_connection_guard,
    pass_connection_guard,
    pass_guards,
)
from pilotfish.explain.held import Held
from pilotfish.explain.http_filters import Routed, pass_filters
from pilotfish.explain.listeners import chain_name, choose_chain, choose_listener, inspectors, virtual_listener
from pilotfish.explain.paths import normalise
from pilotfish.explain.retries import Retrying, retrying
from pilotfish.explain.routes import choose_route, choose_virtual_host, find_route_to, leads, route_name
from pilotfish.explain.trace import Branch, End, Stage, Verdict
from pilotfish.explain.written import NOWHERE, Written, written

_PASSING: Final = (
    "istio.metadata_exchange",
    "istio.stats",
    "envoy.filters.network.sni_dynamic_forward_proxy",
)
"""Network filters that let every connection pass."""
_SHOWN: Final = 5
_PATIENCE: Final = 15.0
"""Seconds for which Envoy's listener filters wait, where the listener does not say."""


def walk_proxy(branch: Branch, held: Held, call: Call, netns: str = "") -> Iterator[Forwarded]:
    """The connections that come of it. Ways that end in the proxy are ended here. `netns`: the file of the network
    namespace in which the proxy is called, where that is another than its own."""
    virtual = virtual_listener(held, call, netns)
    call = replace(call, state={NETNS: StateValue(netns)} if netns else {})
    if virtual is not None:
        branch = branch.step(Stage.LISTENER, virtual.name, evidence={"address": _place(virtual)})
    found = choose_listener(held, call, virtual)
    listener = found.taken
    if found.failure is not None:
        branch = branch.step(Stage.LISTENER, "?", verdict=Verdict.UNKNOWN, rejected=found.rejected)
        branch.end(End.UNKNOWN, found.why, failure=found.failure)
        return
    if listener is None:
        branch = branch.step(Stage.LISTENER, "none", verdict=Verdict.REFUSED, rejected=found.rejected)
        branch.end(End.REFUSED, "the proxy does not listen there", failure=Failure.NO_LISTENER)
        return
    if listener is not virtual or found.rejected:
        evidence = {"why": found.why, "address": _place(listener)}
        branch = branch.step(Stage.LISTENER, listener.name, evidence=evidence, rejected=found.rejected)
    looking = sorted(name for name in inspectors(listener, call) if name.endswith("_inspector"))
    if looking:
        sniffed = _sniff(branch, listener, ", ".join(looking), call)
        if sniffed is None:
            return
        branch = sniffed
    chosen = choose_chain(listener, call)
    if chosen.taken is None and chosen.failure is None and _takes_mutual_alone(listener, call):
        about = {"port": call.port, "mutual": True}
        at = branch.step(Stage.FILTER_CHAIN, "none", verdict=Verdict.REFUSED, evidence=about, rejected=chosen.rejected)
        cause = f"it comes in plaintext, and port {call.port} takes mutual TLS alone"
        at.end(End.RESET, cause, flag="NR", failure=Failure.NO_FILTER_CHAIN)
        return
    yield from _pass_chain(branch, held, call, chosen)


def _takes_mutual_alone(listener: Listener, call: Call) -> bool:
    """Of a port none of whose chains took a connection in plaintext: whether some would, with a certificate."""
    matches = ((chain, chain.filter_chain_match) for chain in listener.filter_chains)
    own = (chain for chain, m in matches if not m.HasField("destination_port") or m.destination_port.value == call.port)
    return call.tls is None and any(
        _is_of_mesh(DownstreamTlsContext.FromString(chain.transport_socket.typed_config.value), call)
        for chain in own
        if chain.HasField("transport_socket")
    )


def _sniff(branch: Branch, listener: Listener, looking: str, call: Call) -> Branch | None:
    """None where it ends here: client and proxy wait for each other's first bytes, which the server would send.

    Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/config/listener/v3/listener.proto,
    listener_filters_timeout
    """
    if call.application is not Application.TCP or call.tls is not None:
        return branch.step(Stage.LISTENER_FILTER, looking, evidence={"detected": _detected(call)})
    limit = listener.listener_filters_timeout
    seconds = limit.seconds + limit.nanos / 1e9 if listener.HasField("listener_filters_timeout") else _PATIENCE
    goes_on = listener.continue_on_listener_filters_timeout
    waits = f"for the client's first bytes, {f'for {seconds:g} s' if seconds else 'without end'}"
    evidence = {"waits": waits, "port": call.port}
    if not call.server_first or (seconds and goes_on):
        return branch.step(Stage.LISTENER_FILTER, looking, evidence={"detected": _detected(call)} | evidence)
    stalled = branch.step(Stage.LISTENER_FILTER, looking, verdict=Verdict.REFUSED, evidence=evidence)
    cause = f"the proxy waits {waits}, to see which protocol they are; the client waits for the server's"
    stalled.end(End.RESET if seconds else End.TIMEOUT, cause, connected=True)
    return None


def _reading(chain: FilterChain) -> dict[str, object]:
    """Whether the server's proxy reads what the client's has read."""
    if any(each in READ for each in chain.filter_chain_match.application_protocols):
        return {"requests": "passed on as the client's proxy has read them"}
    if OURS not in chain.metadata.filter_metadata:
        return {}
    return {"requests": f"read again: {chain.metadata.filter_metadata[OURS][READS]}"}


def _pass_chain(branch: Branch, held: Held, call: Call, found: Choice[FilterChain]) -> Iterator[Forwarded]:
    if found.failure is not None:
        branch = branch.step(Stage.FILTER_CHAIN, "?", verdict=Verdict.UNKNOWN, rejected=found.rejected)
        branch.end(End.UNKNOWN, found.why, failure=found.failure)
        return
    if found.taken is None:
        branch = branch.step(Stage.FILTER_CHAIN, "none", verdict=Verdict.REFUSED, rejected=found.rejected)
        cause = f"no filter chain takes the connection{f': {found.why}' if found.why else ''}"
        branch.end(End.RESET, cause, flag="NR", failure=Failure.NO_FILTER_CHAIN)
        return
    chain = found.taken
    branch = branch.step(
        Stage.FILTER_CHAIN,
        chain_name(chain),
        evidence={"why": found.why, **_reading(chain)},
        rejected=found.rejected,
        written=written(chain),
    )
    if chain.HasField("transport_socket"):
        context = DownstreamTlsContext.FromString(chain.transport_socket.typed_config.value)
        cause = _handshake_failure(context, call)
        if call.tls is None or cause:
            branch = branch.step(Stage.TLS, "none", verdict=Verdict.REFUSED, evidence={"why": cause})
            branch.end(End.RESET, cause, failure=Failure.TLS if call.tls is None else Failure.MUTUAL_TLS)
            return
        evidence = {"mutual": _is_of_mesh(context, call), "certificate": told(_certificate(context, call))}
        branch = branch.step(Stage.TLS, call.tls.server_name or "without a server name", evidence=evidence)
        scheme = call.request.scheme if call.tls.of_mesh else "https"
        peer = (call.tls.identity or None) if call.tls.of_mesh else _foreign(context)
        request = replace(call.request, scheme=scheme)
        call = replace(call, tls=call.tls.within, request=request, peer=peer, server_name=call.tls.server_name)
    else:
        call = replace(call, peer="", server_name=call.tls.server_name if call.tls is not None else "")
    yield from _pass_filters(branch, held, call, chain)


def _handshake_failure(context: DownstreamTlsContext, call: Call) -> str:
    """ "" where it succeeds, as far as can be told without the certificates."""
    if call.tls is None:
        return "the client does not speak TLS, and the chain does"
    if _is_of_mesh(context, call) and not call.tls.of_mesh:
        return "the client shows no certificate of the mesh, and the chain asks for one"
    if call.tls.of_mesh and not _is_of_mesh(context, call):
        return "the client wants a server of the mesh, and the chain shows another certificate"
    return ""


def _foreign(context: DownstreamTlsContext) -> str | None:
    """Who a client is that is none of the mesh: nobody, or whoever its certificate says."""
    asks = context.require_client_certificate.value or context.common_tls_context.HasField("validation_context")
    return None if asks else ""


def _is_of_mesh(context: DownstreamTlsContext, call: Call) -> bool:
    return is_of_mesh(_certificate(context, call) or "")


def _certificate(context: DownstreamTlsContext, call: Call) -> str | None:
    return shown_secret(context.common_tls_context, call.state)


def _pass_filters(branch: Branch, held: Held, call: Call, chain: FilterChain) -> Iterator[Forwarded]:
    noted: Noted = {}
    for each in chain.filters:
        config = each.typed_config
        if is_connection_guard(config):
            left = pass_connection_guard(branch, config, each.name, call, noted)
            if left is None:
                return
            branch = left
        elif config.Is(TcpProxy.DESCRIPTOR):
            branch = branch.step(Stage.NETWORK_FILTER, "tcp_proxy")
            for name, share in shares(TcpProxy.FromString(config.value)):
                yield from forward(branch, held, name, share, call, None, written(chain))
            return
        elif config.Is(HttpConnectionManager.DESCRIPTOR):
            manager = HttpConnectionManager.FromString(config.value)
            yield from _serve(branch, held, call, manager, find_believers(chain))
            return
        elif config.Is(FilterState.DESCRIPTOR):
            call = replace(call, state=apply_filter(config, call.state))
        elif each.name not in _PASSING:
            branch = branch.step(Stage.NETWORK_FILTER, each.name, verdict=Verdict.UNKNOWN).doubt(each.name)
    branch.end(End.UNKNOWN, "the chain has no filter that passes anything on", failure=Failure.UNKNOWN)


def _serve(
    branch: Branch, held: Held, call: Call, manager: HttpConnectionManager, believers: Mapping[str, Written]
) -> Iterator[Forwarded]:
    branch = branch.step(Stage.NETWORK_FILTER, "http_connection_manager")
    if call.application is Application.TCP or call.tls is not None:
        what = "TLS" if call.tls is not None else "bytes that are no HTTP"
        branch.end(End.RESPONSE, f"{what} came where HTTP is read", status=400, flag="DPE", failure=Failure.PROTOCOL)
        return
    branch = replace(branch, is_grpc=call.request.is_grpc)
    guarded = pass_guards(branch, manager, _received(manager, call), client_address(manager, call), believers)
    if guarded is None:
        return
    branch, call = guarded
    config, name = _routes(held, manager)
    if config is None:
        branch = branch.step(Stage.ROUTE_CONFIG, name, verdict=Verdict.UNKNOWN if not name else Verdict.REFUSED)
        if name:
            branch.end(End.RESPONSE, f"it has no routes {name}", status=404, flag="NR", failure=Failure.NO_VIRTUAL_HOST)
        else:
            branch.end(End.UNKNOWN, "how routes are found is not read here", failure=Failure.UNKNOWN)
        return
    branch = branch.step(Stage.ROUTE_CONFIG, name)
    yield from _route(branch, held, call, manager, config)


def _received(manager: HttpConnectionManager, call: Call) -> Call:
    """The request as filters see it."""
    path = normalise(call.request.path, manager)
    headers = dict(call.request.headers)
    if manager.use_remote_address.value and call.source:
        told = headers.get("x-forwarded-for", "")
        headers["x-forwarded-for"] = f"{told},{call.source}" if told else call.source
    return replace(call, request=replace(call.request, path=path, headers=headers, claims=None))


def _routes(held: Held, manager: HttpConnectionManager) -> tuple[RouteConfiguration | None, str]:
    if manager.HasField("rds"):
        return held.route(manager.rds.route_config_name), manager.rds.route_config_name
    if manager.HasField("route_config"):
        return manager.route_config, manager.route_config.name or "in the listener"
    return None, ""


def _route(
    branch: Branch, held: Held, call: Call, manager: HttpConnectionManager, config: RouteConfiguration
) -> Iterator[Forwarded]:
    request = call.request
    hosts = choose_virtual_host(config, request)
    if hosts.taken is None:
        evidence = {"host": request.host}
        branch = branch.step(
            Stage.VIRTUAL_HOST, "none", verdict=Verdict.REFUSED, rejected=hosts.rejected, evidence=evidence
        )
        cause = f"no virtual host has the domain {request.host}; {_domains(config)}"
        branch.end(End.RESPONSE, cause, status=404, flag="NR", failure=Failure.NO_VIRTUAL_HOST)
        return
    host = held.virtual_host(config.name, hosts.taken) if manager.HasField("rds") else hosts.taken
    branch = branch.step(Stage.VIRTUAL_HOST, host.name, evidence={"why": hosts.why}, rejected=hosts.rejected)
    if host.require_tls == VirtualHost.ALL and request.scheme != "https":
        branch.end(End.RESPONSE, "the host is served by TLS alone", status=301, failure=Failure.TLS_REQUIRED)
        return
    routes = choose_route(host, request)
    if call.went_to and not (routes.taken is not None and leads(routes.taken, call.went_to)):
        found = find_route_to(host, request, call.went_to)
        routes = found if found.taken is not None else routes
    route = routes.taken
    if route is None:
        verdict = Verdict.UNKNOWN if routes.failure is not None else Verdict.REFUSED
        evidence = {"host": request.host}
        branch = branch.step(
            Stage.ROUTE, "none", verdict=verdict, rejected=routes.rejected, evidence=evidence, written=_rules(host)
        )
        if routes.failure is not None:
            branch.end(End.UNKNOWN, routes.why, failure=routes.failure)
        else:
            cause = f"no route of {host.name} matches {request.method} {request.path}"
            cause = cause if host.routes else f"no host is routed here, {request.host} as little as any other"
            branch.end(End.RESPONSE, cause, status=404, flag="NR", failure=Failure.NO_ROUTE)
        return
    number = next(i for i, each in enumerate(host.routes, 1) if each is route or each == route)
    branch = branch.step(
        Stage.ROUTE,
        route_name(route, number),
        evidence={"why": routes.why} | dict(describe(route)),
        written=_deciding(route),
        rejected=routes.rejected,
    )
    if route.route.cluster:
        branch = branch.through(route.route.cluster)
    passed = pass_filters(branch, manager, Routed(request, host, route))
    if passed is not None:
        yield from _act(passed, held, call, route, retrying(route, host, request))


def _act(branch: Branch, held: Held, call: Call, route: Route, policy: Retrying) -> Iterator[Forwarded]:
    match route.WhichOneof("action"):
        case "redirect":
            status, location = redirect(route, call.request)
            branch.end(End.RESPONSE, f"redirected to {location}", status=status)
        case "direct_response":
            status = route.direct_response.status
            branch.end(End.RESPONSE, f"the route answers {status} by itself", status=status)
        case "route":
            chosen = {each.name: each for each in route.route.weighted_clusters.clusters}
            clusters = tuple(shares(route.route))
            if not clusters:
                branch.end(End.UNKNOWN, "which cluster it goes to is not read here", failure=Failure.UNKNOWN)
            for number, (name, share) in enumerate(clusters):
                onward = replace(call, request=rewrite(route, call.request, chosen.get(name)))
                yield from forward(branch, held, name, share, onward, policy, written(route).destination(number))
        case _:
            branch.end(End.UNKNOWN, "what the route does is not read here", failure=Failure.UNKNOWN)


def _rules(host: VirtualHost) -> Written:
    """Of the first route that somebody wrote: all rules of that object."""
    config = next((said.config for said in map(written, host.routes) if said.config), "")
    return Written(config, "spec.http") if config else NOWHERE


def _domains(config: RouteConfiguration) -> str:
    """Those that there are, one for each virtual host."""
    there = [host.domains[0] for host in config.virtual_hosts if host.domains]
    shown = ", ".join(there[:_SHOWN])
    return f"there {'are' if len(there) > 1 else 'is'} {shown or 'none'}{' …' if len(there) > _SHOWN else ''}"


def _deciding(route: Route) -> Written:
    """The match that took the request; what answers it, where the route does that itself."""
    said = written(route)
    answers = {"redirect": "redirect", "direct_response": "directResponse"}.get(route.WhichOneof("action") or "")
    return said.rule(answers) if answers else said


def shares(action: Any) -> Iterator[tuple[str, float]]:
    """(cluster, share) of a TcpProxy, or of a route's action."""
    if action.cluster:
        yield action.cluster, 1.0
        return
    listed = [(each.name, _weight(each)) for each in action.weighted_clusters.clusters]
    total = sum(weight for _, weight in listed)
    yield from ((name, weight / total) for name, weight in listed if weight and total)


def _weight(cluster: Any) -> int:
    """A route's is wrapped, a TcpProxy's is not."""
    weight = cluster.weight
    return weight if isinstance(weight, int) else weight.value


def _place(listener: Any) -> str:
    at = listener.address.socket_address
    return f"{at.address}:{at.port_value}"


def _detected(call: Call) -> str:
    if call.tls is not None:
        return "TLS" + (f" for {call.tls.server_name}" if call.tls.server_name else "")
    return {Application.HTTP: "HTTP/1", Application.HTTP2: "HTTP/2"}.get(call.application, "neither HTTP nor TLS")
