"""From a chosen cluster to an endpoint: which there are, over what connection, and as what the request arrives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from envoy.extensions.upstreams.http.v3.http_protocol_options_pb2 import HttpProtocolOptions

from pilotfish.envoy.naming import WORKLOAD_CERTIFICATE
from pilotfish.explain.call import Application, Call, Tls
from pilotfish.explain.endpoints import Candidate, find_endpoints
from pilotfish.explain.held import Held
from pilotfish.explain.subsets import outside_of_subset, why_empty
from pilotfish.explain.trace import Branch, End, Stage, Verdict
from pilotfish.explain.words import say_cluster
from pilotfish.explain.written import Written, written

_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TLS: Final = "envoy.transport_sockets.tls"
_LOOKED_UP: Final = "envoy.clusters.dynamic_forward_proxy"
_MATCHED: Final = "envoy.transport_socket_match"


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A connection that a proxy opens."""

    branch: Branch
    call: Call
    """To the endpoint, with what is sent."""
    via: str
    """The source address that the proxy binds, where it binds one."""
    is_http: bool
    """A failure to connect is answered, and not passed on as it is."""


def forward(
    branch: Branch, held: Held, name: str, share: float, call: Call, is_http: bool, by: Written
) -> Iterator[Forwarded]:
    """To each endpoint that the cluster of this name may choose. A way that ends before one is ended here.

    `by`: who sends it there.
    """
    cluster = held.cluster(name)
    if cluster is None:
        lost = branch.step(Stage.CLUSTER, name, verdict=Verdict.REFUSED, share=share, written=by).through(name)
        _fail(lost, is_http, "NC", f"there is no cluster {say_cluster(name)}")
        return
    branch = branch.step(Stage.CLUSTER, name, share=share, evidence=_described(cluster), written=by).through(name)
    if cluster.type == Cluster.ORIGINAL_DST:
        yield from _to_original(branch, cluster, call, is_http)
        return
    if cluster.cluster_type.name == _LOOKED_UP:
        yield _to_named(branch, cluster, call, is_http)
        return
    found = find_endpoints(held, cluster)
    if found.unknown:
        branch = branch.step(Stage.ENDPOINT, "?", verdict=Verdict.UNKNOWN, written=written(cluster))
        branch.end(End.UNKNOWN, f"the endpoints of {name} are not given: --clusters, or /config_dump?include_eds")
        return
    said = written(cluster)
    if not found.chosen:
        lost_to = (*found.rejected, *outside_of_subset(held, cluster))
        branch = branch.step(Stage.ENDPOINT, "none", verdict=Verdict.REFUSED, rejected=lost_to, written=said)
        _fail(branch, is_http, "UH", why_empty(held, cluster, bool(by.config)))
        return
    for candidate in found.chosen:
        evidence = {"locality": candidate.locality, "panic": found.panic or None}
        at = branch.step(
            Stage.ENDPOINT,
            str(candidate),
            share=candidate.share,
            evidence=evidence,
            rejected=found.rejected,
            written=said,
        ).through(name, str(candidate))
        yield _connected(at, cluster, candidate, call, is_http)


def _to_original(branch: Branch, cluster: Cluster, call: Call, is_http: bool) -> Iterator[Forwarded]:
    port = cluster.original_dst_lb_config.upstream_port_override.value or call.port
    place = f"[{call.address}]:{port}" if ":" in call.address else f"{call.address}:{port}"
    at = branch.step(Stage.ENDPOINT, place, evidence={"why": "it is where the client meant to go"})
    yield _connected(at.through(cluster.name, place), cluster, None, replace(call, port=port), is_http)


def _to_named(branch: Branch, cluster: Cluster, call: Call, is_http: bool) -> Forwarded:
    """Where the request's host, or the server name, leads: no more is known of that than the name."""
    host, colon, port = (
        call.request.host.partition(":") if is_http else (call.tls.server_name if call.tls else "", "", "")
    )
    default = (443 if cluster.HasField("transport_socket") else 80) if is_http else call.port
    number = int(port) if colon and port.isdecimal() else default
    at = branch.step(Stage.ENDPOINT, f"{host}:{number}", evidence={"why": "its name is looked up"})
    onward = replace(call, address=host, port=number)
    return _connected(at.through(cluster.name, f"{host}:{number}"), cluster, None, onward, is_http)


def _connected(branch: Branch, cluster: Cluster, candidate: Candidate | None, call: Call, is_http: bool) -> Forwarded:
    socket = _socket(cluster, candidate)
    tls, application = call.tls, _application(cluster, call) if is_http else call.application
    if socket is not None and socket.name == _TLS:
        context = UpstreamTlsContext.FromString(socket.typed_config.value)
        common = context.common_tls_context
        offered = call.offered or tuple(common.alpn_protocols)
        is_mesh = any(each.name == WORKLOAD_CERTIFICATE for each in common.tls_certificate_sds_secret_configs)
        tls = Tls(context.sni, offered, is_mesh, within=call.tls)
        accepted = common.combined_validation_context.default_validation_context.match_typed_subject_alt_names
        names = [each.matcher.exact for each in accepted]
        evidence = {"mutual": is_mesh, "alpn": list(offered), "expected_names": names}
        name = context.sni or "without a server name"
        branch = branch.step(Stage.TLS, name, evidence=evidence, written=written(cluster))
    source = cluster.upstream_bind_config.source_address.address
    address, port = (candidate.address, candidate.port) if candidate is not None else (call.address, call.port)
    onward = replace(call, address=address, port=port, tls=tls, application=application, source=source, offered=())
    return Forwarded(branch, onward, source, is_http)


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
    return {"type": kind, "load_balancer": Cluster.LbPolicy.Name(cluster.lb_policy)}
