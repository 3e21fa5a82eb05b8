"""What dumps of Envoy's API v2 say, in the words of v3: they have the same choices under other names.

    {"name": "envoy.fault", "config": {…}}  ─upgrade─▶  {"name": "envoy.filters.http.fault", "typed_config": {…}}

A resource of v3 comes out as it went in, but for its own deprecated fields. What is not known here keeps its name, and
becomes unknown where it is read.
Sources: https://www.envoyproxy.io/docs/envoy/v1.14.0/ (api-v2 and its deprecated fields, extension names)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

Json = dict[str, Any]
_PREFIX: Final = "type.googleapis.com/"
_HTTP: Final = "envoy.extensions.filters.http"
_NETWORK: Final = "envoy.extensions.filters.network"
_SOCKETS: Final = "envoy.extensions.transport_sockets.tls.v3"

_TYPES: Final = {
    "envoy.config.filter.network.http_connection_manager.v2.HttpConnectionManager": (
        f"{_NETWORK}.http_connection_manager.v3.HttpConnectionManager"
    ),
    "envoy.config.filter.network.tcp_proxy.v2.TcpProxy": f"{_NETWORK}.tcp_proxy.v3.TcpProxy",
    "envoy.config.filter.http.fault.v2.HTTPFault": f"{_HTTP}.fault.v3.HTTPFault",
    "envoy.config.filter.http.cors.v2.Cors": f"{_HTTP}.cors.v3.Cors",
    "envoy.api.v2.auth.DownstreamTlsContext": f"{_SOCKETS}.DownstreamTlsContext",
    "envoy.api.v2.auth.UpstreamTlsContext": f"{_SOCKETS}.UpstreamTlsContext",
    "envoy.api.v2.Listener": "envoy.config.listener.v3.Listener",
    "envoy.api.v2.Cluster": "envoy.config.cluster.v3.Cluster",
    "envoy.api.v2.RouteConfiguration": "envoy.config.route.v3.RouteConfiguration",
    "envoy.api.v2.ClusterLoadAssignment": "envoy.config.endpoint.v3.ClusterLoadAssignment",
}
_NAMES: Final = {
    "envoy.http_connection_manager": "envoy.filters.network.http_connection_manager",
    "envoy.tcp_proxy": "envoy.filters.network.tcp_proxy",
    "envoy.router": "envoy.filters.http.router",
    "envoy.cors": "envoy.filters.http.cors",
    "envoy.fault": "envoy.filters.http.fault",
    "envoy.grpc_web": "envoy.filters.http.grpc_web",
    "envoy.listener.original_dst": "envoy.filters.listener.original_dst",
    "envoy.listener.tls_inspector": "envoy.filters.listener.tls_inspector",
    "envoy.listener.http_inspector": "envoy.filters.listener.http_inspector",
}
_UNTYPED: Final = {
    "envoy.filters.network.http_connection_manager": f"{_NETWORK}.http_connection_manager.v3.HttpConnectionManager",
    "envoy.filters.network.tcp_proxy": f"{_NETWORK}.tcp_proxy.v3.TcpProxy",
    "envoy.filters.http.fault": f"{_HTTP}.fault.v3.HTTPFault",
}
"""Of a `config` that does not say its type."""
_ADDRESSES: Final = frozenset({"socket_address", "pipe"})
_CORS_POLICY: Final = f"{_PREFIX}{_HTTP}.cors.v3.CorsPolicy"


def upgrade(value: Any) -> Any:
    """A resource, or a part of one. What came in is left as it was."""
    if isinstance(value, list):
        return [upgrade(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {key: upgrade(each) for key, each in value.items()}
    for key in value:
        change = _CHANGES.get(key)
        if change is not None:
            change(found)
    return found


def _type(found: Json) -> None:
    name = str(found["@type"]).removeprefix(_PREFIX)
    if name in _TYPES:
        found["@type"] = f"{_PREFIX}{_TYPES[name]}"


def _filters(field: str) -> Callable[[Json], None]:
    def change(found: Json) -> None:
        for each in found[field]:
            each["name"] = _NAMES.get(each.get("name", ""), each.get("name", ""))
            if "config" in each and "typed_config" not in each:
                _give_type(each)

    return change


def _give_type(found: Json) -> None:
    config, type_ = found.pop("config"), _UNTYPED.get(found["name"])
    if type_ is not None and isinstance(config, dict):
        found["typed_config"] = {"@type": f"{_PREFIX}{type_}", **config}


def _per_filter(field: str) -> Callable[[Json], None]:
    """Of a virtual host, route or cluster: by the filter's name."""

    def change(found: Json) -> None:
        configs = found.setdefault("typed_per_filter_config", {})
        for name, config in list(found[field].items()):
            known = _NAMES.get(name, name)
            type_ = _UNTYPED.get(known)
            configs.pop(name, None)
            if "@type" in config:
                configs[known] = config
            elif type_ is not None:
                configs[known] = {"@type": f"{_PREFIX}{type_}", **config}

    return change


def _tls_context(found: Json) -> None:
    side = "DownstreamTlsContext" if "filters" in found else "UpstreamTlsContext"
    context = {"@type": f"{_PREFIX}{_SOCKETS}.{side}", **found.pop("tls_context")}
    found.setdefault("transport_socket", {"name": "envoy.transport_sockets.tls", "typed_config": context})


def _transport_socket(found: Json) -> None:
    if found["transport_socket"].get("name") == "tls":
        found["transport_socket"]["name"] = "envoy.transport_sockets.tls"


def _hosts(found: Json) -> None:
    """Of a cluster: its endpoints."""
    hosts = found["hosts"]
    if isinstance(hosts, list) and all(
        isinstance(each, dict) and {"socket_address", "pipe"} & each.keys() for each in hosts
    ):
        members = [{"endpoint": {"address": address}} for address in found.pop("hosts")]
        assignment = {"cluster_name": found.get("name", ""), "endpoints": [{"lb_endpoints": members}]}
        found.setdefault("load_assignment", assignment)


def _lb_policy(found: Json) -> None:
    if found["lb_policy"] == "ORIGINAL_DST_LB":
        found["lb_policy"] = "CLUSTER_PROVIDED"


def _match(found: Json) -> None:
    match = found["match"]
    if isinstance(match, dict) and isinstance(match.get("regex"), str):
        match["safe_regex"] = {"regex": match.pop("regex")}


def _string(field: str, how: str) -> Callable[[Json], None]:
    """Of a header's match."""

    def change(found: Json) -> None:
        found["string_match"] = {how: found.pop(field)}

    return change


def _regex_match(found: Json) -> None:
    found["string_match"] = {"safe_regex": {"regex": found.pop("regex_match")}}


def _query_parameters(found: Json) -> None:
    for each in found["query_parameters"]:
        if isinstance(each.get("value"), str):
            value = each.pop("value")
            each["string_match"] = {"safe_regex": {"regex": value}} if each.pop("regex", False) else {"exact": value}


def _mirror(found: Json) -> None:
    found.setdefault("request_mirror_policies", [found.pop("request_mirror_policy")])


def _cors(found: Json) -> None:
    """Of a virtual host or a route's action, whose filter reads it."""
    policy = found.get("cors")
    if isinstance(policy, dict):
        allowed = [{"exact": origin} for origin in policy.pop("allow_origin", ())]
        policy["allow_origin_string_match"] = [*allowed, *policy.get("allow_origin_string_match", ())]


def _route(found: Json) -> None:
    """What the action says of CORS is the route's."""
    action = found["route"]
    if isinstance(action, dict) and isinstance(action.get("cors"), dict):
        configs = found.setdefault("typed_per_filter_config", {})
        configs.setdefault("envoy.filters.http.cors", {"@type": _CORS_POLICY, **action.pop("cors")})


_CHANGES: Final[dict[str, Callable[[Json], None]]] = {
    "@type": _type,
    "filters": _filters("filters"),
    "http_filters": _filters("http_filters"),
    "listener_filters": _filters("listener_filters"),
    "typed_per_filter_config": _per_filter("typed_per_filter_config"),
    "per_filter_config": _per_filter("per_filter_config"),
    "tls_context": _tls_context,
    "transport_socket": _transport_socket,
    "hosts": _hosts,
    "lb_policy": _lb_policy,
    "match": _match,
    "regex_match": _regex_match,
    "safe_regex_match": _string("safe_regex_match", "safe_regex"),
    "exact_match": _string("exact_match", "exact"),
    "prefix_match": _string("prefix_match", "prefix"),
    "suffix_match": _string("suffix_match", "suffix"),
    "query_parameters": _query_parameters,
    "request_mirror_policy": _mirror,
    "cors": _cors,
    "route": _route,
}
"""By the field that a dict has, which is changed in place."""
