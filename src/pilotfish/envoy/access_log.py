"""Access logs of both sides, in Istio's default format or the user's.

Source: https://istio.io/latest/docs/tasks/observability/logs/access-log/
"""

from __future__ import annotations

import json
from typing import Final

from envoy.config.accesslog.v3.accesslog_pb2 import AccessLog, AccessLogFilter, ResponseFlagFilter
from envoy.config.core.v3.base_pb2 import DataSource
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.extensions.access_loggers.file.v3.file_pb2 import FileAccessLog
from google.protobuf.struct_pb2 import Struct

from pilotfish.envoy.message import pack
from pilotfish.model.settings import AccessLog as Settings

TEXT: Final = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" %RESPONSE_CODE% %RESPONSE_FLAGS% '
    '%RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% "%UPSTREAM_TRANSPORT_FAILURE_REASON%" %BYTES_RECEIVED% '
    '%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% '
    "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
)

JSON: Final = {
    "start_time": "%START_TIME%",
    "route_name": "%ROUTE_NAME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
    "protocol": "%PROTOCOL%",
    "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%",
    "response_code_details": "%RESPONSE_CODE_DETAILS%",
    "connection_termination_details": "%CONNECTION_TERMINATION_DETAILS%",
    "bytes_received": "%BYTES_RECEIVED%",
    "bytes_sent": "%BYTES_SENT%",
    "duration": "%DURATION%",
    "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    "x_forwarded_for": "%REQ(X-FORWARDED-FOR)%",
    "user_agent": "%REQ(USER-AGENT)%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "authority": "%REQ(:AUTHORITY)%",
    "upstream_host": "%UPSTREAM_HOST%",
    "upstream_cluster": "%UPSTREAM_CLUSTER_RAW%",
    "upstream_local_address": "%UPSTREAM_LOCAL_ADDRESS%",
    "downstream_local_address": "%DOWNSTREAM_LOCAL_ADDRESS%",
    "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
    "requested_server_name": "%REQUESTED_SERVER_NAME%",
    "upstream_transport_failure_reason": "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
}


def build_access_logs(wanted: Settings | None) -> list[AccessLog]:
    """One file logger; none where none is wanted."""
    if wanted is None:
        return []
    log = FileAccessLog(path=wanted.path, log_format=_format(wanted))
    return [AccessLog(name="envoy.access_loggers.file", typed_config=pack(log))]


def build_listener_logs(wanted: Settings | None) -> list[AccessLog]:
    """For a listener: connections that no filter chain takes, which no other log would show."""
    logs = build_access_logs(wanted)
    for log in logs:
        log.filter.CopyFrom(AccessLogFilter(response_flag_filter=ResponseFlagFilter(flags=["NR"])))
    return logs


def _format(wanted: Settings) -> SubstitutionFormatString:
    if wanted.json:
        fields = Struct()
        fields.update(json.loads(wanted.format) if wanted.format else JSON)
        return SubstitutionFormatString(json_format=fields)
    text = wanted.format or TEXT
    return SubstitutionFormatString(text_format_source=DataSource(inline_string=text))
