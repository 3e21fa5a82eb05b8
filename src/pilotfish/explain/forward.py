"""From a chosen cluster to an endpoint: which there are, over what connection, and as what the request arrives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any, Final

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

from pilotfish.envoy.filter_state import BIND_NETNS, PROTOCOLS
from pilotfish.explain.call import Application, Call, Tls
from pilotfish.explain.certificates import is_of_mesh, shown_secret, told
from pilotfish.explain.endpoints import Candidate, find_endpoints
from pilotfish.explain.extensions import type_of
from pilotfish.explain.filter_state import shared
from pilotfish.explain.held import Held
from pilotfish.explain.retries import Draws, Retrying
from pilotfish.explain.subsets import outside_of_subset, why_empty
from pilotfish.explain.trace import Branch, End, Rejected, Stage, Try, Verdict
from pilotfish.explain.words import say_cluster
from pilotfish.explain.written import NOWHERE, Written, written
from pilotfish.model.addresses import host_port

_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TLS: Final = "envoy.transport_sockets.tls"
_LOOKED_UP: Final = "envoy.clusters.dynamic_forward_proxy"
_MATCHED: Final = "envoy.transport_socket_match"
_HASHING: Final = (Cluster.RING_HASH, Cluster.MAGLEV)
_BY_STATE: Final = "envoy.extensions.local_address_selectors.filter_state_override.v3.Config"


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A connection that a proxy opens. Once all its ways have ended, the proxy may try again."""

    branch: Branch
    call: Call
    """To the endpoint, with what is sent."""
    is_http: bool
    """A failure to connect is answered, and not passed on as it is."""
    attempt: Try | None = None
    timeout: float = 0.0
    """Seconds for the request, with all tries; 0 for any time."""
    netns: str | None = ""
    """The network namespace that it is opened in; "" for the proxy's own, None where it is not known."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a cluster may send a request."""

    name: str
    call: Call
    share: float = 1.0
    candidate: Candidate | None = None
    evidence: Mapping[str, object] = field(default_factory=dict)
    rejected: tuple[Rejected, ...] = ()


_Places = tuple[tuple[_Place, ...] | None, tuple[Rejected, ...]]


def forward(
    branch: Branch, held: Held, name: str, share: float, call: Call, policy: Retrying | None, by: Written
) -> Iterator[Forwarded]:
    """To each endpoint that the cluster of this name may choose, and to those that are tried when it fails. A way that
    ends before one is ended here. `policy`: of a request; None for a TCP connection. `by`: who sends it there."""
    is_http = policy is not None
    cluster = held.cluster(name)
    if cluster is None:
        lost = branch.step(Stage.CLUSTER, name, verdict=Verdict.REFUSED, share=share, written=by).through(name)
        _fail(lost, is_http, "NC", f"there is no cluster {say_cluster(name)}")
        return
    branch = branch.step(Stage.CLUSTER, name, share=share, evidence=_described(cluster), written=by).through(name)
    places, rejected = _places(held, cluster, call, is_http)
    if places is None:
        branch = branch.step(Stage.ENDPOINT, "?", verdict=Verdict.UNKNOWN, written=written(cluster))
        branch.end(End.UNKNOWN, f"the endpoints of {name} are not given: --clusters, or /config_dump?include_eds")
    elif not places:
        lost_to = (*rejected, *outside_of_subset(held, cluster))
        branch = branch.step(
            Stage.ENDPOINT, "none", verdict=Verdict.REFUSED, rejected=lost_to, written=written(cluster)
        )
        _fail(branch, is_http, "UH", why_empty(held, cluster, bool(by.config)))
    elif policy is None:
        for place in places:
            yield _connected(_chosen(branch, cluster, place, place.share), cluster, place, False)
    else:
        yield from _try(branch, held, cluster, places, policy)


def _try(
    branch: Branch, held: Held, cluster: Cluster, places: tuple[_Place, ...], policy: Retrying
) -> Iterator[Forwarded]:
    """Each place, and again while something fails that the policy lets be tried again."""
    shares, draws, failed, tried = [place.share for place in places], None, 1.0, set[int]()
    for number in range(policy.most + 1):
        tries = [Try(policy.retries) for _ in places]
        why = {"try": f"{number + 1} of {policy.most + 1}"} if number else {}
        for place, share, attempt in zip(places, shares, tries, strict=True):
            if share > 0:
                at = _chosen(branch, cluster, place, failed * share, why)
                yield replace(_connected(at, cluster, place, True), attempt=attempt, timeout=policy.timeout)
        lost = [attempt.lost / branch.probability for attempt in tries]
        if not any(lost):
            return
        parts = [each / (failed * share) if share > 0 else 0.0 for each, share in zip(lost, shares, strict=True)]
        if number == policy.most or _is_in_vain(cluster, policy, shares, parts):
            for attempt in tries:
                attempt.give_up()
            return
        if policy.unread:
            _end_unread(tries, policy.unread)
            return
        failed = sum(lost)
        tried |= {
            place.candidate.priority for place, each in zip(places, lost, strict=True) if each and place.candidate
        }
        if policy.priorities_after and (number + 1) % policy.priorities_after == 0:
            again = _assigned(held, cluster, places[0].call, tried)[0]
            places = again or _assigned(held, cluster, places[0].call)[0] or ()
            shares, draws = [place.share for place in places], None
            continue
        if draws is None:
            draws = Draws(shares, parts, policy.draws)
            draws.next()
        drawn = draws.next()
        shares = [each / sum(drawn) for each in drawn]


def _is_in_vain(cluster: Cluster, policy: Retrying, shares: list[float], parts: list[float]) -> bool:
    """Every other try ends as this one: all endpoints fail, or a hash leads to the same one."""
    if policy.is_hashed and policy.draws == 1 and cluster.lb_policy in _HASHING:
        return True
    fail = all(part > 1 - 1e-9 for share, part in zip(shares, parts, strict=True) if share > 0)
    return fail and not policy.priorities_after


def _end_unread(tries: list[Try], what: str) -> None:
    for attempt in tries:
        for each in attempt.failed:
            each.branch.end(End.UNKNOWN, f"it is tried again, and which endpoint {what} chooses is not known here")


def _chosen(
    branch: Branch, cluster: Cluster, place: _Place, share: float, why: Mapping[str, object] | None = None
) -> Branch:
    evidence = {**place.evidence, "opened_in": _opened_in(cluster, place.call), **(why or {})}
    said = written(cluster) if place.candidate is not None else NOWHERE
    step = branch.step(
        Stage.ENDPOINT, place.name, share=share, evidence=evidence, rejected=place.rejected, written=said
    )
    return step.through(cluster.name, place.name)


def _places(held: Held, cluster: Cluster, call: Call, is_http: bool) -> _Places:
    """Their shares add up to 1; None where nobody knows them. And who might have been one."""
    if cluster.type == Cluster.ORIGINAL_DST:
        return (_original(cluster, call),), ()
    if cluster.cluster_type.name == _LOOKED_UP:
        return (_named(cluster, call, is_http),), ()
    return _assigned(held, cluster, call)


def _assigned(held: Held, cluster: Cluster, call: Call, without: Set[int] = frozenset()) -> _Places:
    found = find_endpoints(held, cluster, without, call.source)
    if found.unknown:
        return None, ()
    places = (
        _Place(
            str(each),
            replace(call, address=each.address, port=each.port),
            each.share,
            each,
            {"locality": each.locality, "panic": found.panic or None},
            found.rejected,
        )
        for each in found.chosen
    )
    return tuple(places), found.rejected


def _original(cluster: Cluster, call: Call) -> _Place:
    port = cluster.original_dst_lb_config.upstream_port_override.value or call.port
    name = host_port(call.address, port)
    return _Place(name, replace(call, port=port), evidence={"why": "it is where the client meant to go"})


def _named(cluster: Cluster, call: Call, is_http: bool) -> _Place:
    """Where the request's host, or the server name, leads: no more is known of that than the name."""
    host, colon, port = (
        call.request.host.partition(":") if is_http else (call.tls.server_name if call.tls else "", "", "")
    )
    default = (443 if cluster.HasField("transport_socket") else 80) if is_http else call.port
    number = int(port) if colon and port.isdecimal() else default
    return _Place(
        f"{host}:{number}", replace(call, address=host, port=number), evidence={"why": "its name is looked up"}
    )


def _connected(branch: Branch, cluster: Cluster, place: _Place, is_http: bool) -> Forwarded:
    call, socket = place.call, _socket(cluster, place.candidate)
    tls, application = call.tls, _application(cluster, call) if is_http else call.application
    if socket is not None and socket.name == _TLS:
        context = UpstreamTlsContext.FromString(socket.typed_config.value)
        common = context.common_tls_context
        said = shared(call.state, PROTOCOLS)
        offered = tuple((said.text or "").split(",")) if said is not None else tuple(common.alpn_protocols)
        secret = shown_secret(common, call.state)
        if secret is None:
            branch = branch.doubt(common.custom_tls_certificate_selector.name)
        is_mesh = is_of_mesh(secret or "")
        tls = Tls(context.sni, offered, is_mesh, secret=secret or "", within=call.tls)
        accepted = common.combined_validation_context.default_validation_context.match_typed_subject_alt_names
        names = [each.matcher.exact for each in accepted]
        evidence = {"mutual": is_mesh, "certificate": told(secret), "alpn": list(offered), "expected_names": names}
        name = context.sni or "without a server name"
        branch = branch.step(Stage.TLS, name, evidence=evidence, written=written(cluster))
    source = cluster.upstream_bind_config.source_address.address
    onward = replace(call, tls=tls, application=application, source=source, state={})
    return Forwarded(branch, onward, is_http, netns=_opened_in(cluster, call))


def _opened_in(cluster: Cluster, call: Call) -> str | None:
    """The network namespace of the connection; "" for the proxy's own, None where it is not known."""
    bind = cluster.upstream_bind_config
    said = shared(call.state, BIND_NETNS) if type_of(bind.local_address_selector.typed_config) == _BY_STATE else None
    return str(bind.source_address.network_namespace_filepath) if said is None else said.text


def _socket(cluster: Cluster, candidate: Candidate | None) -> TransportSocket | None:
    """The first of the cluster's that the endpoint's metadata fits, else the cluster's own."""
    said: Mapping[str, Any] = {}
    if candidate is not None and _MATCHED in candidate.message.metadata.filter_metadata:
        said = dict(candidate.message.metadata.filter_metadata[_MATCHED])
    for each in cluster.transport_socket_matches:
        if all(said.get(key) == value for key, value in dict(each.match).items()):
            return each.transport_socket
    return cluster.transport_socket if cluster.HasField("transport_socket") else None


def _application(cluster: Cluster, call: Call) -> Application:
    packed = cluster.typed_extension_protocol_options.get(_HTTP_OPTIONS)
    options = HttpProtocolOptions.FromString(packed.value) if packed is not None else HttpProtocolOptions()
    if options.HasField("use_downstream_protocol_config"):
        return call.application
    explicit = options.explicit_http_config.HasField("http2_protocol_options")
    return Application.HTTP2 if explicit or cluster.HasField("http2_protocol_options") else Application.HTTP


def _fail(branch: Branch, is_http: bool, flag: str, cause: str) -> None:
    """No endpoint: HTTP is told so, a TCP connection is closed."""
    if is_http:
        branch.end(End.RESPONSE, cause, status=503, flag=flag)
    else:
        branch.end(End.RESET, cause, flag=flag)


def _described(cluster: Cluster) -> Mapping[str, object]:
    kind = cluster.cluster_type.name if cluster.HasField("cluster_type") else Cluster.DiscoveryType.Name(cluster.type)
    # What Envoy has no number for it has a name for.
    named = [each.typed_extension_config.name.rpartition(".")[2] for each in cluster.load_balancing_policy.policies]
    return {"type": kind, "load_balancer": named[0].upper() if named else Cluster.LbPolicy.Name(cluster.lb_policy)}
