"""What a status or a response flag means, and the request behind an entry of an access log.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/observability/access_log/usage (RESPONSE_FLAGS)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pilotfish.explain.accesslog import AccessLogEntry
from pilotfish.explain.ask import Ask, parse


@dataclass(frozen=True, slots=True)
class Meaning:
    status: str
    """That the client usually sees; "" for any."""
    says: str
    remedy: str


FLAGS: Final = {
    "UH": Meaning(
        "503",
        "the cluster has no endpoint that may be used: no pod is ready, or a subset's labels select none",
        "look at the Service's selector, the subset's labels and the pods' readiness",
    ),
    "UF": Meaning(
        "503",
        "the connection to the endpoint failed; at the server's side nothing listens on the port, or on loopback alone",
        "let the app listen on 0.0.0.0, or correct the Service's targetPort",
    ),
    "UO": Meaning(
        "503",
        "the endpoint was not asked: a bound of the connection pool was reached",
        "raise the DestinationRule's connectionPool, or send less",
    ),
    "UC": Meaning(
        "503",
        "the endpoint closed the connection before it answered",
        "look at the app's log: it ended, or closes idle connections before its clients do",
    ),
    "UR": Meaning(
        "503", "the endpoint reset the stream", "look at the app's log; a port that is no HTTP may be called so"
    ),
    "URX": Meaning(
        "503",
        "the last of all retries failed too, or no more connects are tried",
        "see what each try failed by, at the server's side",
    ),
    "UT": Meaning(
        "504",
        "the endpoint did not answer within the route's timeout",
        "raise the VirtualService's timeout, or make the app faster",
    ),
    "UPE": Meaning(
        "502",
        "the endpoint answered in another protocol than it was asked in",
        "name the Service's port for what the app speaks: http, http2, grpc, tcp",
    ),
    "UMSDR": Meaning("504", "the request took longer than it may at all", "raise the VirtualService's timeout"),
    "NR": Meaning(
        "404",
        "no route: the request's host or path fits no virtual host or route; or no filter chain fits",
        "look at the Host header, at the VirtualService's hosts and matches",
    ),
    "NC": Meaning(
        "503", "the route leads to a cluster that is not there", "look at the destination's host, port and subset"
    ),
    "DC": Meaning("", "the caller went away before the answer was complete", "look at the caller's own timeout"),
    "DPE": Meaning(
        "400",
        "the caller broke the protocol: what came is no HTTP, or a head is too large",
        "let the caller speak HTTP there, or name the Service's port for what it speaks",
    ),
    "DT": Meaning("504", "the request or the connection lasted longer than it may", "raise the timeout that is set"),
    "DI": Meaning("", "a fault delayed the request", "it is the VirtualService's fault.delay"),
    "FI": Meaning("", "a fault ended the request", "it is the VirtualService's fault.abort"),
    "LR": Meaning("503", "the connection was reset by the proxy itself", "see the connection's other entry"),
    "LH": Meaning("503", "the proxy's own health check fails", "see whether its pod is leaving"),
    "RL": Meaning("429", "a rate limit was reached", "raise the limit, or send less"),
    "UAEX": Meaning("403", "an authorization service refused the request", "look at that service's log"),
    "IH": Meaning("400", "a header that must have another value was refused", "look at the header that the log names"),
    "SI": Meaning("408", "the stream was idle for too long", "send something within the idle timeout"),
    "OM": Meaning("503", "the proxy is short of memory", "look at what it holds: `proxy-config all`"),
    "DF": Meaning("503", "the endpoint's name does not resolve", "look at the ServiceEntry's endpoints and hosts"),
    "UDO": Meaning("503", "the cluster is told to drop a part of its load", "look at what drops it"),
}
"""By Envoy's flag."""
STATUSES: Final = {
    "403": "a proxy or the app refused the request",
    "404": "no route (flag NR), or the app has no such path",
    "408": "the request was not complete in time",
    "426": "the caller speaks HTTP/1.0, and the proxy does not take it",
    "431": "the request's head is larger than 60 KB",
    "502": "the endpoint's answer can't be understood (UPE), or a registry-only mesh does not know the host",
    "503": "there is no endpoint, or the connection to it failed: the flag says which",
    "504": "the answer took too long: the flag says which bound",
}


def is_about(entry: AccessLogEntry, word: str) -> bool:
    """`503`, or `UH`."""
    return word == str(entry.response_code) or word in entry.response_flags


def flags_of(word: str) -> tuple[str, ...]:
    """Those that usually come with a status; a flag itself."""
    return (word,) if word in FLAGS else tuple(flag for flag, meaning in FLAGS.items() if meaning.status == word)


def ask_of(entry: AccessLogEntry) -> Ask:
    """What was asked, at the address that the client meant."""
    place = entry.downstream_local_address
    if not entry.method:
        return parse(f"tcp://{place}")
    headers: Iterable[str] = (f"Host: {entry.authority}",)
    return parse(f"http://{place}{entry.path}", method=entry.method, headers=headers)
