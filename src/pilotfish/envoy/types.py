"""The xDS types: one row each, in the order in which an update of several goes out (make before break).

What must go before what: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-docs/xds_protocol#eventual-consistency-considerations
Type URLs: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-docs/xds_protocol#resource-types
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from google.protobuf.message import Message

_PREFIX: Final = "type.googleapis.com/"

CLUSTER: Final = f"{_PREFIX}envoy.config.cluster.v3.Cluster"
ENDPOINT: Final = f"{_PREFIX}envoy.config.endpoint.v3.ClusterLoadAssignment"
SECRET: Final = f"{_PREFIX}envoy.extensions.transport_sockets.tls.v3.Secret"
EXTENSION: Final = f"{_PREFIX}envoy.config.core.v3.TypedExtensionConfig"
LISTENER: Final = f"{_PREFIX}envoy.config.listener.v3.Listener"
ROUTE: Final = f"{_PREFIX}envoy.config.route.v3.RouteConfiguration"
VIRTUAL_HOST: Final = f"{_PREFIX}envoy.config.route.v3.VirtualHost"


@dataclass(frozen=True, slots=True)
class DumpSection:
    """Where Envoy's /config_dump has a type.

    Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/api-v3/admin/v3/config_dump.proto
    """

    message: str
    """`ClustersConfigDump`."""
    field: str
    """Its field with one entry for each resource."""
    resource: str
    """The field of an entry, or of its state, that holds the resource."""
    state: str = ""
    """The field of an entry that holds version and resource; "" where the entry itself does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class XdsType:
    url: str
    short: str
    """The discovery service's usual name: `cds`."""
    noun: str
    """What Istio's /debug/syncz calls one: `cluster`."""
    module: str
    """The module of the message's class, in the package that the URL names."""
    dump: DumpSection | None = None
    served: bool = True
    """Discovery makes resources of it. The others are known, so that they have their place once there are some."""
    wildcard: bool = False
    """A first request that names nothing asks for everything, and every Envoy makes one ("Wildcard subscriptions"). A
    response in the state of the world form holds everything."""
    waits_for: tuple[str, ...] = ()
    """What must have been sent before additions and changes of this type."""
    removed_after: tuple[str, ...] = ()
    """What must be settled, that is sent and acknowledged, before resources of this type are taken away."""
    refusal: str = ""
    """How Envoy's words begin where it tries every resource of a response, applies the good ones and names all others.
    For "" it stops at the first bad one, and mostly names none."""
    sensitive: bool = False
    """Body and version are never shown."""

    def message(self) -> type[Message]:
        """The message's class. It is loaded only now, so that a process that names types alone stays small."""
        package, _, name = self.url.removeprefix(_PREFIX).rpartition(".")
        found: type[Message] = getattr(import_module(f"{package}.{self.module}"), name)
        return found


TYPES: Final = (
    XdsType(
        url=CLUSTER,
        short="cds",
        noun="cluster",
        module="cluster_pb2",
        dump=DumpSection("ClustersConfigDump", "dynamic_active_clusters", "cluster"),
        wildcard=True,
        removed_after=(EXTENSION, LISTENER, ROUTE, VIRTUAL_HOST),
        # source/common/upstream/cds_api_impl.cc: `NAME: WHY`, joined by commas
        refusal="Error adding/updating cluster(s) ",
    ),
    # Endpoints and secrets wait for nothing: Envoy holds back its ACK of new clusters until these are warm
    # (cluster_manager_impl.cc, `updateClusterCounts`), which takes their endpoints and secrets.
    XdsType(
        url=ENDPOINT,
        short="eds",
        noun="endpoint",
        module="endpoint_pb2",
        dump=DumpSection("EndpointsConfigDump", "dynamic_endpoint_configs", "endpoint_config"),
        removed_after=(CLUSTER, EXTENSION, LISTENER, ROUTE, VIRTUAL_HOST),
    ),
    XdsType(
        url=SECRET,
        short="sds",
        noun="secret",
        module="secret_pb2",
        dump=DumpSection("SecretsConfigDump", "dynamic_active_secrets", "secret"),
        removed_after=(CLUSTER, LISTENER),
        sensitive=True,
    ),
    XdsType(
        url=EXTENSION,
        short="ecds",
        noun="extensionconfig",
        module="extension_pb2",
        dump=DumpSection("EcdsConfigDump", "ecds_filters", "ecds_filter"),
        served=False,
        waits_for=(CLUSTER,),
        removed_after=(LISTENER,),
    ),
    XdsType(
        url=LISTENER,
        short="lds",
        noun="listener",
        module="listener_pb2",
        dump=DumpSection("ListenersConfigDump", "dynamic_listeners", "listener", state="active_state"),
        wildcard=True,
        waits_for=(CLUSTER,),
        # source/common/listener_manager/lds_api.cc: `NAME: WHY`, joined by newlines
        refusal="Error adding/updating listener(s) ",
    ),
    XdsType(
        url=ROUTE,
        short="rds",
        noun="route",
        module="route_pb2",
        dump=DumpSection("RoutesConfigDump", "dynamic_route_configs", "route_config"),
        waits_for=(CLUSTER, LISTENER),
        removed_after=(LISTENER,),
    ),
    XdsType(
        url=VIRTUAL_HOST,
        short="vhds",
        noun="virtualhost",
        module="route_components_pb2",
        served=False,
        waits_for=(CLUSTER, ROUTE),
        removed_after=(ROUTE,),
    ),
)

ORDER: Final = tuple(row.url for row in TYPES)
"""The URLs, in the order in which a change is sent."""
SERVED: Final = tuple(row for row in TYPES if row.served)
SHOWN: Final = tuple(sorted(SERVED, key=lambda row: not row.wildcard))
"""As istioctl lists them: what every Envoy asks for comes first."""

_BY_URL: Final = {row.url: row for row in TYPES}
_RANKS: Final = {row.url: rank for rank, row in enumerate(TYPES)}


def xds_type(url: str) -> XdsType:
    """The type's row. For a type that is not in the table, which a proxy may well ask for, one that says no more."""
    name = url.rpartition(".")[2].lower()
    return _BY_URL.get(url) or XdsType(url=url, short=name, noun=name, module="", served=False)


def short(url: str) -> str:
    """`cds`, `eds`, `lds`, `rds`; the message's own name for a type that is not in the table."""
    return xds_type(url).short


def rank(url: str) -> int:
    """Where a type stands in the order of one update; types that are not in the table go last."""
    return _RANKS.get(url, len(TYPES))
