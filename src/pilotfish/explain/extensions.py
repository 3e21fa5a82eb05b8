"""Extensions of Envoy's by the name of their configuration's type, also of a type that is not known here.

A TypedStruct says such a type, and what it holds as JSON does; `held` makes one of what a dump shows of such a type.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from google.protobuf import descriptor_pool
from google.protobuf.json_format import MessageToDict
from xds.type.v3.typed_struct_pb2 import TypedStruct

_URL: Final = "type.googleapis.com/"
Json = dict[str, Any]


def type_of(config: Any) -> str:
    """`envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`, of a typed_config."""
    if config.Is(TypedStruct.DESCRIPTOR):
        return str(TypedStruct.FromString(config.value).type_url).rpartition("/")[2]
    return str(config.TypeName())


def fields_of(config: Any) -> Mapping[str, Any]:
    """As JSON names them, in lower case with underscores."""
    if config.Is(TypedStruct.DESCRIPTOR):
        return MessageToDict(TypedStruct.FromString(config.value).value)
    if not is_known(str(config.TypeName())):
        return {}
    found: Json = MessageToDict(config, preserving_proto_field_name=True)
    return {key: value for key, value in found.items() if key != "@type"}


def known(value: Any) -> Any:
    """What a dump shows, with all that is of an unknown type as a TypedStruct."""
    if isinstance(value, list):
        return [known(each) for each in value]
    if not isinstance(value, dict):
        return value
    name = value.get("@type", "").rpartition("/")[2]
    if name == TypedStruct.DESCRIPTOR.full_name:
        return value
    if name and not is_known(name):
        held = {key: each for key, each in value.items() if key != "@type"}
        return {"@type": f"{_URL}{TypedStruct.DESCRIPTOR.full_name}", "type_url": f"{_URL}{name}", "value": held}
    return {key: known(each) for key, each in value.items()}


@cache
def is_known(name: str) -> bool:
    try:
        descriptor_pool.Default().FindMessageTypeByName(name)
    except KeyError:
        return False
    return True
