"""The few things that every message needs: serialising, `Any`, durations, addresses, where more comes from."""

from __future__ import annotations

from typing import Any

from envoy.config.core.v3.address_pb2 import Address, Pipe, SocketAddress
from envoy.config.core.v3.base_pb2 import Metadata
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration as DurationMessage
from google.protobuf.message import Message

from pilotfish.model import Duration, ObjectRef

_TYPE_PREFIX = "type.googleapis.com/"


def serialise(message: Message) -> bytes:
    """The message's bytes; equal messages give equal bytes, maps included."""
    return message.SerializeToString(deterministic=True)


def pack(message: Message) -> AnyMessage:
    return AnyMessage(type_url=_TYPE_PREFIX + message.DESCRIPTOR.full_name, value=serialise(message))


def duration(value: Duration) -> DurationMessage:
    return DurationMessage(seconds=value.nanos // 10**9, nanos=value.nanos % 10**9)


def seconds(value: int) -> DurationMessage:
    return DurationMessage(seconds=value)


def ads() -> ConfigSource:
    """Over the same stream as everything else; wait for it however long it takes."""
    return ConfigSource(
        ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3, initial_fetch_timeout=seconds(0)
    )


def socket_address(address: str, port: int) -> Address:
    return Address(socket_address=SocketAddress(address=address, port_value=port))


def datagram_address(address: str, port: int) -> Address:
    return Address(socket_address=SocketAddress(protocol=SocketAddress.UDP, address=address, port_value=port))


def pipe(path: str) -> Address:
    """A socket's path, as users write it: `unix:///PATH`, or `unix://@NAME` for an abstract one."""
    return Address(pipe=Pipe(path=path.removeprefix("unix://")))


def istio_metadata(**values: Any) -> Metadata | None:
    """`filter_metadata.istio`, where istioctl and people look for the object behind a resource. None if empty."""
    given = {key: value for key, value in values.items() if value}
    if not given:
        return None
    metadata = Metadata()
    metadata.filter_metadata["istio"].update(given)
    return metadata


def config_path(ref: ObjectRef) -> str:
    """`/apis/networking.istio.io/v1/namespaces/vm/destination-rule/calculator`."""
    return f"/apis/{ref.kind.api_versions[0]}/namespaces/{ref.namespace}/{ref.kind.path}/{ref.name}"
