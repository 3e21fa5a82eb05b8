"""What decides to which endpoint of a RING_HASH or MAGLEV cluster a request goes."""

from __future__ import annotations

from envoy.config.route.v3.route_components_pb2 import RouteAction

from pilotfish.envoy.message import duration
from pilotfish.model.traffic_policy import Cookie, HashKey


def build_hash_policy(key: HashKey) -> RouteAction.HashPolicy:
    hashing = RouteAction.HashPolicy
    if key.header:
        return hashing(header=hashing.Header(header_name=key.header))
    if key.query_param:
        return hashing(query_parameter=hashing.QueryParameter(name=key.query_param))
    if key.cookie is not None:
        return hashing(cookie=_cookie(key.cookie))
    return hashing(connection_properties=hashing.ConnectionProperties(source_ip=True))


def _cookie(source: Cookie) -> RouteAction.HashPolicy.Cookie:
    cookie = RouteAction.HashPolicy.Cookie(name=source.name, path=source.path)
    if source.ttl is not None:
        cookie.ttl.CopyFrom(duration(source.ttl))
    for name, value in source.attributes:
        cookie.attributes.add(name=name, value=value)
    return cookie
