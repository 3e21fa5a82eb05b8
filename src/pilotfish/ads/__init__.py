"""The xDS protocol as a state machine: delta and state of the world, no sockets and no clock.

    bytes ─request.parse_delta | parse_world─▶ Request ─┐
                                      ResourceSet ──────┼─Stream─▶ Effect: Send(Payload) ─wire─▶ bytes
                                             time ──────┘                  Accepted, Refused

`stream` orders the types (make before break), `watch` is one type's subscription, `bounds` how much may be asked for,
`holding` what a proxy has and lacks of a type, `diff` what differs between the layers of two resource sets, `refusal`
reads Envoy's words.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
"""

from pilotfish.ads.bounds import LARGEST_REQUEST, ExcessiveRequestError, Kept, check_kept
from pilotfish.ads.effects import Accepted, Effect, Refused, Send
from pilotfish.ads.request import (
    DeltaRequest,
    MalformedRequestError,
    Node,
    Request,
    WorldRequest,
    parse_delta,
    parse_world,
)
from pilotfish.ads.stream import Stream
from pilotfish.ads.watch import StreamCache

__all__ = [
    "LARGEST_REQUEST",
    "Accepted",
    "DeltaRequest",
    "Effect",
    "ExcessiveRequestError",
    "Kept",
    "MalformedRequestError",
    "Node",
    "Refused",
    "Request",
    "Send",
    "Stream",
    "StreamCache",
    "WorldRequest",
    "check_kept",
    "parse_delta",
    "parse_world",
]
