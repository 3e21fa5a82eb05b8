"""One line of an Envoy access log in Istio's default text format, as a value.

Source: https://istio.io/latest/docs/tasks/observability/logs/access-log/#default-access-log-format
and https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = re.compile(r'"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>\S+)')
_FIELDS = 21
"""Words behind the start time, the quoted ones counted as one each."""


@dataclass(frozen=True, slots=True)
class AccessLogEntry:
    """A request (or, with method "-", a TCP connection). Text is as logged; "-" became ""."""

    start_time: str
    method: str
    path: str
    protocol: str
    response_code: int
    """0 where there was no response."""
    response_flags: tuple[str, ...]
    """Such as UF, NR, DC."""
    response_code_details: str
    connection_termination_details: str
    upstream_transport_failure_reason: str
    bytes_received: int
    bytes_sent: int
    duration_ms: int
    upstream_service_time_ms: int | None
    forwarded_for: str
    user_agent: str
    request_id: str
    authority: str
    upstream_host: str
    upstream_cluster: str
    upstream_local_address: str
    downstream_local_address: str
    """Where the client meant to go: the address before the kernel redirected it."""
    downstream_remote_address: str
    requested_server_name: str
    route_name: str

    @property
    def ends(self) -> tuple[str, str]:
        """Of the caller's connection: where it came from, and where it meant to go."""
        return self.downstream_remote_address, self.downstream_local_address

    @property
    def is_inbound(self) -> bool:
        """The server's side wrote it."""
        return self.upstream_cluster.startswith("inbound|") or self.upstream_cluster == "InboundPassthroughCluster"


def parse_access_log(line: str) -> AccessLogEntry | None:
    """One line; None if it is no access log line in this format (Envoy's own log goes to the same place)."""
    if not line.startswith("["):
        return None
    start, closed, rest = line[1:].partition("] ")
    words = [m["bare"] if m["quoted"] is None else m["quoted"] for m in _WORD.finditer(rest)]
    if not closed or len(words) != _FIELDS or not words[1].isdecimal():
        return None
    method, _, path_and_protocol = words[0].partition(" ")
    path, _, protocol = path_and_protocol.rpartition(" ")
    text = ["" if w == "-" else w for w in words]
    return AccessLogEntry(
        start_time=start,
        method="" if method == "-" else method,
        path="" if path == "-" else path,
        protocol="" if protocol == "-" else protocol,
        response_code=int(words[1]),
        response_flags=tuple(text[2].split(",")) if text[2] else (),
        response_code_details=text[3],
        connection_termination_details=text[4],
        upstream_transport_failure_reason=text[5],
        bytes_received=int(text[6] or 0),
        bytes_sent=int(text[7] or 0),
        duration_ms=int(text[8] or 0),
        upstream_service_time_ms=int(text[9]) if text[9] else None,
        forwarded_for=text[10],
        user_agent=text[11],
        request_id=text[12],
        authority=text[13],
        upstream_host=text[14],
        upstream_cluster=text[15],
        upstream_local_address=text[16],
        downstream_local_address=text[17],
        downstream_remote_address=text[18],
        requested_server_name=text[19],
        route_name=text[20],
    )
