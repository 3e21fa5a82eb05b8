"""VirtualService.

Source: https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pilotfish.config.istio.common import Destination, StringMatch
from pilotfish.config.kubernetes import Resource, Struct
from pilotfish.model import Duration, kinds


class HTTPMatchRequest(Struct):
    """All that is set must hold."""

    name: str = ""
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: dict[str, StringMatch] = {}
    without_headers: dict[str, StringMatch] = {}
    query_params: dict[str, StringMatch] = {}
    ignore_uri_case: bool = False
    port: int = 0
    source_labels: dict[str, str] = {}
    source_namespace: str = ""
    gateways: tuple[str, ...] = ()
    """Stand in for the object's. Labels and namespace of the source are then not looked at."""
    stat_prefix: str = ""


class HeaderOperations(Struct):
    set: dict[str, str] = {}
    add: dict[str, str] = {}
    remove: tuple[str, ...] = ()


class Headers(Struct):
    request: HeaderOperations = HeaderOperations()
    response: HeaderOperations = HeaderOperations()


class HTTPRouteDestination(Struct):
    destination: Destination
    weight: int = 0
    headers: Headers = Headers()


class HTTPRetry(Struct):
    attempts: int = 0
    per_try_timeout: Duration | None = None
    retry_on: str = ""
    """Conditions and statuses, separated by commas."""
    retry_remote_localities: bool | None = None
    retry_ignore_previous_hosts: bool = True
    backoff: Duration | None = None
    """The longest pause before the first retry; it doubles with each."""


class RegexRewrite(Struct):
    """`rewrite` may name groups of `match`: `\\1`."""

    match: str = ""
    rewrite: str = ""


class HTTPRewrite(Struct):
    uri: str = ""
    """Replaces the prefix that matched, and the whole path where none did."""
    authority: str = ""
    uri_regex_rewrite: RegexRewrite | None = None


class HTTPRedirect(Struct):
    uri: str = ""
    prefix_rewrite: str = ""
    """Needs matches by prefix."""
    authority: str = ""
    port: int | None = None
    derive_port: Literal["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"] | None = None
    """Not beside `port`."""
    scheme: str = ""
    redirect_code: int = 0
    """301, which is also what is meant by none, 302, 303, 307 or 308: Envoy has no others."""


class HTTPBody(Struct):
    string: str | None = None
    encoded: str | None = msgspec.field(default=None, name="bytes")
    """In base64."""


class HTTPDirectResponse(Struct):
    status: int
    """200 to 599."""
    body: HTTPBody | None = None
    """At most 1 MiB; more than 100 KiB is warned of."""


class Percent(Struct):
    value: float = 0.0


class Delay(Struct):
    percentage: Percent | None = None
    """Without one no request is delayed, which is warned of."""
    percent: int = 0
    """Of old: now `percentage`."""
    fixed_delay: Duration | None = None


class Abort(Struct):
    percentage: Percent | None = None
    """Without one no request is aborted, which is warned of."""
    http_status: int | None = None
    grpc_status: str | None = None


class HTTPFaultInjection(Struct):
    delay: Delay | None = None
    abort: Abort | None = None


class HTTPMirrorPolicy(Struct):
    destination: Destination
    percentage: Percent | None = None


class CorsPolicy(Struct):
    allow_origins: tuple[StringMatch, ...] = ()
    allow_origin: tuple[str, ...] = ()
    """Of old: whole origins, or `*`."""
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: Duration | None = None
    """Whole seconds."""
    allow_credentials: bool | None = None
    unmatched_preflights: Literal["UNSPECIFIED", "FORWARD", "IGNORE"] = "UNSPECIFIED"


class Delegate(Struct):
    name: str = ""
    namespace: str = ""
    """"" is that of the object."""


class HTTPRoute(Struct):
    """`match` entries are alternatives; none at all matches every request."""

    name: str = ""
    match: tuple[HTTPMatchRequest, ...] = ()
    route: tuple[HTTPRouteDestination, ...] = ()
    redirect: HTTPRedirect | None = None
    direct_response: HTTPDirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: HTTPRewrite | None = None
    timeout: Duration | None = None
    retries: HTTPRetry | None = None
    fault: HTTPFaultInjection | None = None
    mirror: Destination | None = None
    mirror_percentage: Percent | None = None
    mirror_percent: int | None = None
    """Of old: now `mirrorPercentage`, and warned of."""
    mirrors: tuple[HTTPMirrorPolicy, ...] = ()
    cors_policy: CorsPolicy | None = None
    headers: Headers = Headers()


class RouteDestination(Struct):
    destination: Destination
    weight: int = 0


class TLSMatchAttributes(Struct):
    """All that is set must hold."""

    sni_hosts: tuple[str, ...] = ()
    destination_subnets: tuple[str, ...] = ()
    """In the mesh: a gateway's connections are all to the gateway."""
    port: int = 0
    source_labels: dict[str, str] = {}
    """In the mesh, as `sourceNamespace`: whom a gateway's connections come from is not looked at."""
    source_namespace: str = ""
    gateways: tuple[str, ...] = ()
    """Stand in for the object's."""


class TLSRoute(Struct):
    """`match` entries are alternatives."""

    match: tuple[TLSMatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


class L4MatchAttributes(Struct):
    """All that is set must hold."""

    destination_subnets: tuple[str, ...] = ()
    """In the mesh: a gateway's connections are all to the gateway."""
    port: int = 0
    source_labels: dict[str, str] = {}
    """In the mesh, as `sourceNamespace`: whom a gateway's connections come from is not looked at."""
    source_namespace: str = ""
    gateways: tuple[str, ...] = ()
    """Stand in for the object's."""


class TCPRoute(Struct):
    """`match` entries are alternatives; none at all matches every connection."""

    match: tuple[L4MatchAttributes, ...] = ()
    route: tuple[RouteDestination, ...] = ()


class VirtualServiceSpec(Struct):
    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    """`NAME`, `NAMESPACE/NAME`, or `mesh`: calls from pod to pod, which are also meant where there are none."""
    export_to: tuple[str, ...] = ()
    """Namespaces: `.` is the object's own, `~` none, `*` all, which is also what is meant where there is none."""
    http: tuple[HTTPRoute, ...] = ()
    tls: tuple[TLSRoute, ...] = ()
    tcp: tuple[TCPRoute, ...] = ()


class VirtualService(Resource):
    kind = kinds.VIRTUAL_SERVICE
    spec: VirtualServiceSpec
