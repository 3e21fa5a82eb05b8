"""Formats of access logs, as Envoy takes them: it refuses a listener whole whose log has a slip in it.

Source: https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage; the operators are
those that Envoy 1.40 takes, each tried.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from difflib import get_close_matches

from pilotfish.config.report import Report


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WITH_ARGUMENTS = _names(
    """
    CEL CLUSTER_METADATA COALESCE COMMON_DURATION DYNAMIC_METADATA ENVIRONMENT FILTER_STATE METADATA QUERY_PARAM
    REQ REQUEST_HEADER RESP RESPONSE_HEADER RESPONSE_TRAILER STREAM_INFO_REQ TRAILER UPSTREAM_FILTER_STATE
    UPSTREAM_METADATA
    """
)
OPERATORS = _WITH_ARGUMENTS | _names(
    """
    ACCESS_LOG_TYPE BYTES_RECEIVED BYTES_RETRANSMITTED BYTES_SENT CONNECTION_ID CONNECTION_TERMINATION_DETAILS
    CUSTOM_FLAGS DOWNSTREAM_CX_RTT DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED
    DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT DOWNSTREAM_DETECTED_CLOSE_TYPE DOWNSTREAM_DIRECT_LOCAL_ADDRESS
    DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT
    DOWNSTREAM_DIRECT_LOCAL_PORT DOWNSTREAM_DIRECT_REMOTE_ADDRESS DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT
    DOWNSTREAM_DIRECT_REMOTE_PORT DOWNSTREAM_HANDSHAKE_DURATION DOWNSTREAM_HEADER_BYTES_RECEIVED
    DOWNSTREAM_HEADER_BYTES_SENT DOWNSTREAM_LOCAL_ADDRESS DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID
    DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_LOCAL_CLOSE_REASON DOWNSTREAM_LOCAL_DNS_SAN
    DOWNSTREAM_LOCAL_EMAIL_SAN DOWNSTREAM_LOCAL_IP_SAN DOWNSTREAM_LOCAL_OTHERNAME_SAN DOWNSTREAM_LOCAL_PORT
    DOWNSTREAM_LOCAL_SUBJECT DOWNSTREAM_LOCAL_URI_SAN DOWNSTREAM_PEER_CERT DOWNSTREAM_PEER_CERT_V_END
    DOWNSTREAM_PEER_CERT_V_START DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1 DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256
    DOWNSTREAM_PEER_CHAIN_SERIALS DOWNSTREAM_PEER_DNS_SAN DOWNSTREAM_PEER_EMAIL_SAN
    DOWNSTREAM_PEER_FINGERPRINT_1 DOWNSTREAM_PEER_FINGERPRINT_256 DOWNSTREAM_PEER_IP_SAN DOWNSTREAM_PEER_ISSUER
    DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256 DOWNSTREAM_PEER_ISSUER_SERIAL DOWNSTREAM_PEER_OTHERNAME_SAN
    DOWNSTREAM_PEER_SERIAL DOWNSTREAM_PEER_SUBJECT DOWNSTREAM_PEER_URI_SAN DOWNSTREAM_REMOTE_ADDRESS
    DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_REMOTE_PORT DOWNSTREAM_TLS_CIPHER DOWNSTREAM_TLS_GROUP
    DOWNSTREAM_TLS_SESSION_ID DOWNSTREAM_TLS_VERSION DOWNSTREAM_TRANSPORT_FAILURE_REASON
    DOWNSTREAM_WIRE_BYTES_RECEIVED DOWNSTREAM_WIRE_BYTES_SENT DURATION EMIT_TIME EMIT_TIME_LOCAL
    FILTER_CHAIN_NAME GRPC_STATUS GRPC_STATUS_NUMBER HOSTNAME LISTENER_NAME LOCAL_REPLY_BODY PATH PROTOCOL
    QUERY_PARAMS REQUESTED_SERVER_NAME REQUEST_DURATION REQUEST_HEADERS_BYTES REQUEST_TX_DURATION RESPONSE_CODE
    RESPONSE_CODE_DETAILS RESPONSE_DURATION RESPONSE_FLAGS RESPONSE_FLAGS_LONG RESPONSE_HEADERS_BYTES
    RESPONSE_TRAILERS_BYTES RESPONSE_TX_DURATION ROUNDTRIP_DURATION ROUTE_NAME ROUTE_RESOLUTION_COUNT
    ROUTE_RESOLUTION_TIME_US SPAN_ID START_TIME START_TIME_LOCAL STREAM_ID TLS_JA3_FINGERPRINT
    TLS_JA4_FINGERPRINT TRACE_ID UNIQUE_ID UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW UPSTREAM_CONNECTION_ID
    UPSTREAM_CONNECTION_IDS_ATTEMPTED UPSTREAM_CONNECTION_POOL_READY_DURATION
    UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT
    UPSTREAM_DETECTED_CLOSE_TYPE UPSTREAM_HEADER_BYTES_RECEIVED UPSTREAM_HEADER_BYTES_SENT UPSTREAM_HOST
    UPSTREAM_HOSTS_ATTEMPTED UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT UPSTREAM_HOST_NAME
    UPSTREAM_HOST_NAMES_ATTEMPTED UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT UPSTREAM_HOST_NAME_WITHOUT_PORT
    UPSTREAM_LOCAL_ADDRESS UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT UPSTREAM_LOCAL_CLOSE_REASON
    UPSTREAM_LOCAL_DNS_SAN UPSTREAM_LOCAL_IP_SAN UPSTREAM_LOCAL_PORT UPSTREAM_LOCAL_URI_SAN UPSTREAM_PEER_CERT
    UPSTREAM_PEER_CERT_V_END UPSTREAM_PEER_CERT_V_START UPSTREAM_PEER_DNS_SAN UPSTREAM_PEER_IP_SAN
    UPSTREAM_PEER_ISSUER UPSTREAM_PEER_SUBJECT UPSTREAM_PEER_URI_SAN UPSTREAM_PROTOCOL UPSTREAM_REMOTE_ADDRESS
    UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT UPSTREAM_REMOTE_PORT
    UPSTREAM_REQUEST_ATTEMPT_COUNT UPSTREAM_SERVER_NAME UPSTREAM_TLS_CIPHER UPSTREAM_TLS_GROUP
    UPSTREAM_TLS_SESSION_ID UPSTREAM_TLS_VERSION UPSTREAM_TRANSPORT_FAILURE_REASON UPSTREAM_WIRE_BYTES_RECEIVED
    UPSTREAM_WIRE_BYTES_SENT VIRTUAL_CLUSTER_NAME
    """
)
_WITH_LENGTH = _names(
    """
    CEL DYNAMIC_METADATA ENVIRONMENT FILTER_STATE PATH QUERY_PARAM QUERY_PARAMS REQ REQUEST_HEADER RESP RESPONSE_HEADER
    RESPONSE_TRAILER STREAM_INFO_REQ TRAILER UPSTREAM_FILTER_STATE CLUSTER_METADATA UPSTREAM_METADATA METADATA COALESCE
    """
)
_HEADERS = frozenset({"REQ", "REQUEST_HEADER", "RESP", "RESPONSE_HEADER", "RESPONSE_TRAILER", "TRAILER"})
_OPERATOR = re.compile(r"%(?:%|([A-Z0-9_]+)(\([^)]*\))?(:[0-9]+)?%)")


def check_access_log(path: str, log_format: str, encoding: str, prefix: str, report: Report) -> None:
    """`prefix`: the way to the meshConfig, "" or with its dot."""
    if path and (not path.startswith("/") or "\0" in path):
        remedy = "write an absolute path, such as /dev/stdout"
        report.invalid(f"{prefix}accessLogFile", f"{path!r} is no file that Envoy can write", remedy)
    field = f"{prefix}accessLogFormat"
    texts: tuple[str, ...] = (log_format,)
    if encoding == "JSON" and log_format:
        fields = _parse_object(log_format)
        if fields is None:
            remedy = 'write one, such as {"status": "%RESPONSE_CODE%"}, or accessLogEncoding: TEXT'
            report.invalid(field, "the format is no JSON object, and accessLogEncoding is JSON", remedy)
            return
        texts = tuple(_texts(fields))
    for fault, remedy in filter(None, map(find_fault, texts)):
        report.invalid(field, fault, remedy)


def find_fault(text: str) -> tuple[str, str] | None:
    """(what is wrong, what to do)."""
    at = 0
    while (at := text.find("%", at)) >= 0:
        found = _OPERATOR.match(text, at)
        if found is None:
            return f"{text[at : at + 20]!r} is no operator of Envoy's", "write %OPERATOR%, or %% for the sign itself"
        if found[1] is not None and (fault := _fault_of(*found.groups())):
            return fault
        at = found.end()
    return None


def _fault_of(name: str, arguments: str | None, length: str | None) -> tuple[str, str] | None:
    if name not in OPERATORS:
        close = get_close_matches(name, OPERATORS, n=1)
        return f"Envoy knows no %{name}%", f"did you mean %{close[0]}%?" if close else "remove it"
    if name in _WITH_ARGUMENTS and arguments in (None, "()"):
        return f"%{name}% wants to know of what", f"write %{name}(NAME)%"
    if length is not None and name not in _WITH_LENGTH:
        return f"%{name}% takes no length", f"write it without {length}"
    if name in _HEADERS and arguments is not None and arguments.count("?") > 1:
        return f"%{name}{arguments}% names more than two headers", f"write %{name}(FIRST?OTHER)%"
    return None


def _parse_object(text: str) -> dict[str, object] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
