"""What statuses, response flags and response code details mean, and where the user changes what leads to them.

Sources: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/observability/access_log/usage (RESPONSE_FLAGS),
https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_conn_man/response_code_details
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Field:
    """Of an object that may stand on a request's way."""

    kind: str
    path: str

    def __str__(self) -> str:
        return f"{self.kind} {self.path}"


@dataclass(frozen=True, slots=True)
class Meaning:
    status: str
    """That the client usually sees; "" for any."""
    says: str
    remedy: str
    fields: tuple[Field, ...] = ()
    """That decide it, the likeliest first."""


_SUBSET: Final = Field("DestinationRule", "spec.subsets[].labels")
_POOL: Final = Field("DestinationRule", "spec.trafficPolicy.connectionPool")
_TLS: Final = Field("DestinationRule", "spec.trafficPolicy.tls")
_SELECTOR: Final = Field("Service", "spec.selector")
_TARGET_PORT: Final = Field("Service", "spec.ports[].targetPort")
_PROTOCOL: Final = Field("Service", "spec.ports[].appProtocol, or how its name begins")
_ENDPOINTS: Final = Field("ServiceEntry", "spec.endpoints, spec.resolution")
_RETRIES: Final = Field("VirtualService", "spec.http[].retries")
_TIMEOUT: Final = Field("VirtualService", "spec.http[].timeout")
_MATCH: Final = Field("VirtualService", "spec.hosts, spec.http[].match")
_DESTINATION: Final = Field("VirtualService", "spec.http[].route[].destination")

FLAGS: Final = {
    "UH": Meaning(
        "503",
        "the cluster has no endpoint that may be used: no pod is ready, or a subset's labels select none",
        "look at the Service's selector, the subset's labels and the pods' readiness",
        (_SUBSET, _SELECTOR, _ENDPOINTS),
    ),
    "UF": Meaning(
        "503",
        "the connection to the endpoint failed; at the server's side nothing listens on the port, or on loopback alone",
        "let the app listen on 0.0.0.0, or correct the Service's targetPort, or what the DestinationRule says of TLS; "
        "what is outside of the mesh is reached with `up --egress` alone",
        (_TARGET_PORT, _TLS, _ENDPOINTS),
    ),
    "UO": Meaning(
        "503",
        "the endpoint was not asked: a bound of the connection pool was reached",
        "raise the DestinationRule's connectionPool, or send less",
        (_POOL,),
    ),
    "UC": Meaning(
        "503",
        "the endpoint closed the connection before it answered",
        "look at the app's log: it ended, or closes idle connections before its clients do",
        (Field("DestinationRule", "spec.trafficPolicy.connectionPool.http.idleTimeout"), _RETRIES),
    ),
    "UR": Meaning(
        "503",
        "the endpoint reset the stream",
        "look at the app's log; a port that is no HTTP may be called so",
        (_PROTOCOL,),
    ),
    "URX": Meaning(
        "503",
        "the last of all retries failed too, or no more connects are tried",
        "see what each try failed by, at the server's side",
        (_RETRIES,),
    ),
    "UT": Meaning(
        "504",
        "the endpoint did not answer within the route's timeout",
        "raise the VirtualService's timeout, or make the app faster",
        (_TIMEOUT, Field("VirtualService", "spec.http[].retries.perTryTimeout")),
    ),
    "UPE": Meaning(
        "502",
        "the endpoint answered in another protocol than it was asked in",
        "name the Service's port for what the app speaks: http, http2, grpc, tcp",
        (_PROTOCOL,),
    ),
    "UMSDR": Meaning(
        "504", "the request took longer than it may at all", "raise the VirtualService's timeout", (_TIMEOUT,)
    ),
    "NR": Meaning(
        "404",
        "no route: the request's host or path fits no virtual host or route; or no filter chain fits",
        "look at the Host header, at the VirtualService's hosts and matches, and at the Gateway's",
        (_MATCH, Field("Gateway", "spec.servers[].hosts")),
    ),
    "NC": Meaning(
        "503",
        "the route leads to a cluster that is not there",
        "look at the destination's host, port and subset",
        (_DESTINATION, Field("DestinationRule", "spec.subsets[].name")),
    ),
    "DC": Meaning("", "the caller went away before the answer was complete", "look at the caller's own timeout"),
    "DR": Meaning("", "the caller reset the stream before the answer was complete", "look at the caller's own timeout"),
    "DPE": Meaning(
        "400",
        "the caller broke the protocol: what came is no HTTP, or a head is too large",
        "let the caller speak HTTP there, or name the Service's port for what it speaks",
        (_PROTOCOL,),
    ),
    "DT": Meaning(
        "504",
        "the request or the connection lasted longer than it may",
        "raise the timeout that is set",
        (Field("DestinationRule", "spec.trafficPolicy.connectionPool.tcp.maxConnectionDuration"), _TIMEOUT),
    ),
    "DI": Meaning(
        "",
        "a fault delayed the request",
        "it is the VirtualService's fault.delay",
        (Field("VirtualService", "spec.http[].fault.delay"),),
    ),
    "FI": Meaning(
        "",
        "a fault ended the request",
        "it is the VirtualService's fault.abort",
        (Field("VirtualService", "spec.http[].fault.abort"),),
    ),
    "LR": Meaning("503", "the connection was reset by the proxy itself", "see the connection's other entry"),
    "LH": Meaning("503", "the proxy's own health check fails", "see whether its pod is leaving"),
    "RL": Meaning("429", "a rate limit was reached", "raise the limit, or send less"),
    "RLSE": Meaning("500", "the rate limit service could not be asked", "look at that service"),
    "UAEX": Meaning(
        "403",
        "an authorization service refused the request",
        "look at that service's log",
        (Field("AuthorizationPolicy", "spec.provider"),),
    ),
    "IH": Meaning("400", "a header that must have another value was refused", "look at the header that the log names"),
    "SI": Meaning("408", "the stream was idle for too long", "send something within the idle timeout"),
    "OM": Meaning("503", "the proxy is short of memory or connections", "look at what it holds: `proxy-config all`"),
    "DF": Meaning(
        "503",
        "the endpoint's name does not resolve",
        "look at the ServiceEntry's endpoints and hosts",
        (_ENDPOINTS, Field("ServiceEntry", "spec.hosts")),
    ),
    "DO": Meaning("503", "a part of the cluster's load is dropped, this request too", "look at what drops it"),
    "UDO": Meaning("503", "the whole of the cluster's load is dropped", "look at what drops it"),
    "RFCF": Meaning("", "the answer came from a cache in the proxy, not from the app", "look at the cache's filter"),
    "NFCF": Meaning("500", "a filter of the proxy has not got its configuration", "see whether discovery is reached"),
}
"""By Envoy's flag. They are all that Envoy 1.40 has."""
STATUSES: Final = {
    "400": "the request is no good HTTP (DPE, IH), or the app said so",
    "401": "the request's token is missing or not accepted (RequestAuthentication), or the app said so",
    "403": "an AuthorizationPolicy or an authorization service (UAEX) refused the request, or the app did",
    "404": "no route (NR), or the app has no such path",
    "408": "the request was not complete in time (SI)",
    "413": "the body is larger than what the proxy, or the app, holds",
    "426": "the caller speaks HTTP/1.0, and the proxy does not take it; or the app asks for another protocol",
    "429": "a rate limit was reached (RL), or the app said so",
    "431": "the request's head is larger than 60 KB",
    "500": "the app failed; or a part of the proxy did (RLSE, NFCF)",
    "502": "the endpoint's answer can't be understood (UPE), or a registry-only mesh does not know the host",
    "503": "there is no endpoint, or the connection to it failed: the flag says which; without one the app said so",
    "504": "the answer took too long: the flag says which bound; without one the app said so",
}
_DETAILS: Final = {
    "via_upstream": "the endpoint answered so: its app, or its proxy",
    "direct_response": "a route answered it, and no app was asked",
    "route_not_found": "no route took it",
    "route_configuration_not_found": "the proxy has no routes for the port",
    "cluster_not_found": "the route's destination is not there",
    "no_healthy_upstream": "no endpoint could be asked",
    "overflow": "a bound of the connection pool was reached",
    "response_timeout": "the app took longer than the route's timeout",
    "upstream_per_try_timeout": "each try took longer than perTryTimeout",
    "upstream_max_stream_duration_reached": "the request lasted longer than it may",
    "upstream_reset_before_response_started": "the connection to the endpoint failed before an answer",
    "upstream_reset_after_response_started": "the connection to the endpoint broke within the answer",
    "downstream_remote_disconnect": "the caller went away",
    "downstream_local_disconnect": "the proxy closed the connection",
    "filter_chain_not_found": "no filter chain took the connection",
    "low_version": "HTTP/1.0 is not taken here",
    "missing_host_header": "the request has no Host header",
    "stream_idle_timeout": "nothing was sent for too long",
    "request_headers_too_large": "the request's head is too large",
    "request_payload_too_large": "the request's body is too large",
    "path_normalization_failed": "the path can't be normalised",
    "fault_filter_abort": "a fault of the route answered it",
    "cors": "the route's CORS policy answered it",
    "ext_authz_denied": "an authorization service refused it",
    "ext_authz_error": "an authorization service did not answer as it should",
    "jwt_authn_access_denied": "its token is not believed",
    "dns_resolution_failure": "the endpoint's name does not resolve",
    "unconditional_drop_overload": "all of the cluster's load is dropped",
    "drop_overload": "a part of the cluster's load is dropped",
    "http1.codec_error": "what came is no HTTP/1",
    "http2.": "what came is no good HTTP/2",
}
"""How a response code's details begin → in words. The first that fits holds."""
_POLICY: Final = re.compile(
    r"rbac_access_denied_matched_policy\[(?:(istio-ext-authz-.*?-)?ns\[(.*?)\]-policy\[(.*?)\]-rule\[(\d+)\]|none)"
)


def say_details(details: str) -> str:
    """In words, and as they are where there are none for them."""
    if (policy := _POLICY.match(details)) is not None:
        provider, namespace, name, rule = policy.groups()
        if not name:
            return "no policy allows it"
        does = "asks a provider that can't be asked" if provider else "denies it"
        return f"AuthorizationPolicy {namespace}/{name} spec.rules[{rule}] {does}"
    known = next((words for beginning, words in _DETAILS.items() if details.startswith(beginning)), "")
    return f"{known} ({details})" if known else details


def flags_of(word: str) -> tuple[str, ...]:
    """Those that usually come with a status; a flag itself."""
    return (word,) if word in FLAGS else tuple(flag for flag, meaning in FLAGS.items() if meaning.status == word)
