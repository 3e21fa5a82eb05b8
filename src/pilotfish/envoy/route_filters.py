"""What a route asks of the HTTP filters before it acts: faults and CORS.

Source: Envoy 1.40, api-v3/extensions/filters/http/{fault,cors}/v3
"""

from __future__ import annotations

from collections.abc import Iterator

from envoy.config.core.v3.base_pb2 import RuntimeFractionalPercent
from envoy.extensions.filters.http.cors.v3.cors_pb2 import CorsPolicy
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from envoy.type.v3.percent_pb2 import FractionalPercent
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import BoolValue

from pilotfish.envoy.matches import build_string
from pilotfish.envoy.message import duration
from pilotfish.model.route import CORS, MILLION, Fault, HTTPRoute


def filters_of(route: HTTPRoute) -> Iterator[tuple[str, Message]]:
    """(name of the filter, what it is to do)."""
    if route.fault is not None:
        yield "envoy.filters.http.fault", _fault(route.fault)
    if route.cors is not None:
        yield "envoy.filters.http.cors", _cors(route.cors)


def fraction(share: int) -> FractionalPercent:
    """Of millionths."""
    return FractionalPercent(numerator=share, denominator=FractionalPercent.DenominatorType.MILLION)


def _fault(source: Fault) -> HTTPFault:
    made = HTTPFault()
    if source.delay is not None:
        made.delay.fixed_delay.CopyFrom(duration(source.delay.time))
        made.delay.percentage.CopyFrom(fraction(source.delay.share))
    if source.abort is not None:
        made.abort.percentage.CopyFrom(fraction(source.abort.share))
        if source.abort.grpc_status is not None:
            made.abort.grpc_status = source.abort.grpc_status
        elif source.abort.http_status is not None:
            made.abort.http_status = source.abort.http_status
    return made


def _cors(source: CORS) -> CorsPolicy:
    made = CorsPolicy(
        allow_origin_string_match=map(build_string, source.origins),
        allow_methods=",".join(source.methods),
        allow_headers=",".join(source.headers),
        expose_headers=",".join(source.expose_headers),
        allow_credentials=BoolValue(value=source.credentials),
        filter_enabled=RuntimeFractionalPercent(default_value=fraction(MILLION)),
        forward_not_matching_preflights=BoolValue(value=source.forward_unmatched),
    )
    if source.max_age is not None:
        made.max_age = str(source.max_age.nanos // 10**9)
    return made
