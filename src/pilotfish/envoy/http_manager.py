"""HTTP connection managers: one value says what a manager is to have, one table which filters that comes to.

A new HTTP filter is a row of `FILTERS`: its slot, when a manager has it, and its message. A row may give several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import Final

from envoy.config.core.v3.protocol_pb2 import Http1ProtocolOptions
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.cors.v3.cors_pb2 import Cors
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
    HttpFilter,
    Rds,
    RequestIDExtension,
)
from envoy.extensions.request_id.uuid.v3.uuid_pb2 import UuidRequestIdConfig
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BoolValue

from pilotfish.envoy.access_log import build_access_logs
from pilotfish.envoy.authorization import build_custom, build_verdicts
from pilotfish.envoy.connection_settings import bear_requests
from pilotfish.envoy.jwt_authn import build_tokens
from pilotfish.envoy.message import ads, pack, seconds
from pilotfish.envoy.name_lookup import build_request_lookup
from pilotfish.envoy.proxy_headers import describe_caller, set_headers
from pilotfish.model import Duration
from pilotfish.model.authentication import Authentication
from pilotfish.model.authorization import NOTHING, Authorization
from pilotfish.model.settings import AccessLog, ConnectionSettings, Edge, Headers, PathNormalization


class Direction(IntEnum):
    INBOUND = auto()
    """To the app of the proxy's own pod."""
    OUTBOUND = auto()
    """From it."""
    GATEWAY = auto()
    """From whoever calls the gateway by its own address."""


NEVER: Final = Duration(0)
_BELIEVES_NOBODY: Final = Edge()
_AS_EVER: Final = Headers()
_AS_ENVOY: Final = ConnectionSettings()


@dataclass(frozen=True, slots=True)
class HttpManager:
    """What one HTTP connection manager is to have."""

    direction: Direction
    stat_prefix: str
    route: str | RouteConfiguration
    """The name of one that it asks for; or inline, where it changes with its listener alone."""
    access_log: AccessLog | None
    upgrades: tuple[str, ...] = ("websocket",)
    headers: Headers = _AS_EVER
    edge: Edge = _BELIEVES_NOBODY
    """Of a gateway."""
    paths: PathNormalization = PathNormalization.BASE
    bears: ConnectionSettings = _AS_ENVOY
    authorization: Authorization = NOTHING
    authentication: Authentication = ()
    http3: bool = False
    """Its connections are of QUIC."""
    lookup: Duration = NEVER
    """How often names are asked for, where some of its routes may lead to what requests call their host."""


class Slot(IntEnum):
    """The places in the chain of HTTP filters, in Istio's order."""

    CUSTOM = auto()
    """Whoever decides outside is asked before tokens are looked at."""
    TOKENS = auto()
    AUTHORIZATION = auto()
    FAULT = auto()
    CORS = auto()
    LOOKUP = auto()
    ROUTER = auto()
    """Last: what comes after it would never be asked."""


_Filters = Callable[[HttpManager], Iterable[HttpFilter]]


def _filter(
    name: str, build: Callable[[HttpManager], Message], applies: Callable[[HttpManager], bool] = lambda _: True
) -> _Filters:
    """A row of one filter."""

    def build_all(spec: HttpManager) -> Iterable[HttpFilter]:
        return [HttpFilter(name=name, typed_config=pack(build(spec)))] if applies(spec) else []

    return build_all


def _of_routes(name: str, message: Message) -> _Filters:
    """A row of one filter that only requests meet whose route has something for it. The others are spared it (3 % of a
    manager's CPU for each request), and a route that is the first to have something changes no listener, which would
    drain its connections."""
    made = HttpFilter(name=name, typed_config=pack(message), disabled=True)
    return lambda _: [made]


# Istio's grpc_stats is left out: what it hands on, only Istio's own stats filter reads.
FILTERS: Final[tuple[tuple[Slot, _Filters], ...]] = (
    (Slot.CUSTOM, lambda spec: build_custom(spec.authorization)),
    (Slot.TOKENS, lambda spec: build_tokens(spec.authentication, clears_route=spec.direction is Direction.GATEWAY)),
    (Slot.AUTHORIZATION, lambda spec: build_verdicts(spec.authorization)),
    (Slot.FAULT, _of_routes("envoy.filters.http.fault", HTTPFault())),
    (Slot.CORS, _of_routes("envoy.filters.http.cors", Cors())),
    (
        Slot.LOOKUP,
        _filter(
            "envoy.filters.http.dynamic_forward_proxy",
            lambda spec: build_request_lookup(spec.lookup),
            lambda spec: spec.lookup != NEVER,
        ),
    ),
    (
        Slot.ROUTER,
        _filter("envoy.filters.http.router", lambda spec: Router(suppress_envoy_headers=not spec.headers.debug)),
    ),
)

_REQUEST_ID: Final = RequestIDExtension(
    typed_config=pack(UuidRequestIdConfig(use_request_id_for_trace_sampling=BoolValue(value=True)))
)


_HTTP1: Final = Http1ProtocolOptions(accept_http_10=True, default_host_for_http_10="localhost")
"""HTTP/1.0 is served, as with Istio's PILOT_HTTP10: nginx speaks it to its upstreams, and `ab` to everyone. Such a
request need not say a host. It has this one then, which no service has, and so goes to the address that was called."""


def build_http_manager(spec: HttpManager) -> Filter:
    manager = HttpConnectionManager(
        # Statistics end a name at ";", because names hold dots.
        stat_prefix=f"{spec.stat_prefix};",
        http_filters=_filters(spec),
        use_remote_address=BoolValue(value=False),
        proxy_100_continue=True,
        stream_idle_timeout=seconds(0),
        upgrade_configs=[HttpConnectionManager.UpgradeConfig(upgrade_type=u) for u in spec.upgrades],
        request_id_extension=_REQUEST_ID,
        http_protocol_options=_HTTP1,
        access_log=build_access_logs(spec.access_log),
    )
    set_headers(manager, spec.headers)
    _normalise_paths(manager, spec.paths)
    if spec.bears != _AS_ENVOY:
        bear_requests(manager, spec.bears)
    if spec.http3:
        manager.codec_type = HttpConnectionManager.HTTP3
        manager.http3_protocol_options.SetInParent()
    match spec.direction:
        case Direction.INBOUND:
            manager.server_name = spec.headers.server
            describe_caller(manager, spec.headers)
        case Direction.GATEWAY:
            manager.server_name = spec.headers.server
            _stand_at_the_edge(manager, spec.edge)
    if isinstance(spec.route, str):
        manager.rds.CopyFrom(Rds(config_source=ads(), route_config_name=spec.route))
    else:
        manager.route_config.CopyFrom(spec.route)
    return Filter(name="envoy.filters.network.http_connection_manager", typed_config=pack(manager))


def _filters(spec: HttpManager) -> list[HttpFilter]:
    return [each for _, build in sorted(FILTERS, key=lambda row: row[0]) for each in build(spec)]


def _normalise_paths(manager: HttpConnectionManager, paths: PathNormalization) -> None:
    """Before anything looks at them.

    Source: https://istio.io/latest/docs/ops/best-practices/security/#customize-your-system-on-path-normalization
    """
    actions = HttpConnectionManager.PathWithEscapedSlashesAction
    manager.normalize_path.value = paths is not PathNormalization.NONE
    manager.merge_slashes = paths in (PathNormalization.MERGE_SLASHES, PathNormalization.DECODE_AND_MERGE_SLASHES)
    decodes = paths is PathNormalization.DECODE_AND_MERGE_SLASHES
    manager.path_with_escaped_slashes_action = actions.UNESCAPE_AND_FORWARD if decodes else actions.KEEP_UNCHANGED


def _stand_at_the_edge(manager: HttpConnectionManager, edge: Edge) -> None:
    """Nobody outside is believed, unless the mesh says so: the app is told the address and the certificate that are
    seen here.

    Source: https://istio.io/latest/docs/ops/configuration/traffic-management/network-topologies/
    """
    manager.use_remote_address.value = True
    manager.xff_num_trusted_hops = edge.trusted_proxies
    manager.forward_client_cert_details = HttpConnectionManager.ForwardClientCertDetails.Value(edge.certificate)
    details = manager.set_current_client_cert_details
    details.subject.value = details.cert = details.dns = details.uri = True
