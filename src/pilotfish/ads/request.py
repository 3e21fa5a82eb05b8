"""What a proxy says, in either form of the protocol.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import json_format, message

from pilotfish.envoy.types import xds_type
from pilotfish.model.private import PrivateStr

_LONGEST_ERROR = 1 << 16
"""Characters of Envoy's words that are looked at; it prints a resource that it refuses."""
_LARGEST_METADATA = 1 << 19
"""Bytes: a pod's annotations, which Istio's agents say, too, may have half as many."""


class MalformedRequestError(ValueError):
    """The bytes are no request of the ADS service."""


@dataclass(frozen=True, slots=True)
class Node:
    """Who asks. Only a stream's first request must carry it."""

    id: str
    metadata: Mapping[str, object] = field(default_factory=dict)
    version: str = ""
    """Envoy's build, such as `1.40.0`."""


@dataclass(frozen=True, slots=True)
class DeltaRequest:
    type_url: str
    nonce: str = ""
    """Of the response that this acknowledges or refuses; "" for neither."""
    error: str | None = None
    """Envoy's words, where it refuses."""
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial: Mapping[str, str] = field(default_factory=dict)
    """What the proxy holds from an earlier stream: names and their versions."""
    node: Node | None = None

    @property
    def asks(self) -> bool:
        """It is more than an answer: there will be more, or less, to keep."""
        return bool(self.subscribe or self.unsubscribe or self.initial)


@dataclass(frozen=True, slots=True)
class WorldRequest:
    """A request in the state of the world form: it always carries the whole subscription."""

    type_url: str
    nonce: str = ""
    error: str | None = None
    names: tuple[str, ...] = ()
    version: str = ""
    """The last version that the proxy accepted."""
    node: Node | None = None

    @property
    def asks(self) -> bool:
        return bool(self.names)


Request = DeltaRequest | WorldRequest


def parse_delta(body: bytes) -> DeltaRequest:
    """Raises MalformedRequestError."""
    proto = discovery_pb2.DeltaDiscoveryRequest()
    _parse(proto, body)
    return DeltaRequest(
        type_url=proto.type_url,
        nonce=proto.response_nonce,
        error=proto.error_detail.message[:_LONGEST_ERROR] if proto.HasField("error_detail") else None,
        subscribe=tuple(proto.resource_names_subscribe),
        unsubscribe=tuple(proto.resource_names_unsubscribe),
        initial=_versions(proto.type_url, proto.initial_resource_versions),
        node=_node(proto),
    )


def parse_world(body: bytes) -> WorldRequest:
    """Raises MalformedRequestError."""
    proto = discovery_pb2.DiscoveryRequest()
    _parse(proto, body)
    return WorldRequest(
        type_url=proto.type_url,
        nonce=proto.response_nonce,
        error=proto.error_detail.message[:_LONGEST_ERROR] if proto.HasField("error_detail") else None,
        names=tuple(proto.resource_names),
        version=_version(proto.type_url, proto.version_info),
        node=_node(proto),
    )


def _parse(proto: message.Message, body: bytes) -> None:
    try:
        proto.ParseFromString(body)
    except message.DecodeError as error:
        raise MalformedRequestError(str(error)) from error


def _version(type_url: str, text: str) -> str:
    return PrivateStr(text) if xds_type(type_url).sensitive else text


def _versions(type_url: str, versions: Mapping[str, str]) -> Mapping[str, str]:
    if xds_type(type_url).sensitive:
        return {name: PrivateStr(version) for name, version in versions.items()}
    return dict(versions)


def _node(proto: discovery_pb2.DiscoveryRequest | discovery_pb2.DeltaDiscoveryRequest) -> Node | None:
    if not proto.HasField("node") or not proto.node.id:
        return None
    node = proto.node
    version = node.user_agent_build_version.version
    if (size := node.metadata.ByteSize()) > _LARGEST_METADATA:
        raise MalformedRequestError(f"the node's metadata has {size} bytes; {_LARGEST_METADATA} is the most")
    try:
        metadata = json_format.MessageToDict(node.metadata)
    except json_format.Error as error:  # a number that JSON does not have
        raise MalformedRequestError(f"the node's metadata is no JSON: {error}") from error
    return Node(
        id=node.id,
        metadata=metadata,
        version=f"{version.major_number}.{version.minor_number}.{version.patch}",
    )
