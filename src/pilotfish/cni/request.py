"""What a container runtime asks of its plugins, as `image/cni.c` passes it on, and how it is answered.

    CNI_COMMAND=ADD\\0CNI_NETNS=/run/netns/cni-1\\0CNI_ARGS=K8S_POD_NAMESPACE=vm;K8S_POD_NAME=web-0\\0\\0{"cniVersion":...}

Source: https://www.cni.dev/docs/spec/ (1.1.0)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import msgspec

LARGEST: Final = 4 * 2**20
"""Bytes of a request."""
_OLDEST: Final = "0.3.0"
"""From which on there are lists of plugins."""


class Code(IntEnum):
    """CNI's well-known errors."""

    INVALID_ENVIRONMENT = 4
    DECODING_FAILURE = 6
    INVALID_CONFIG = 7
    TRY_AGAIN = 11
    INTERNAL = 999


@dataclass(frozen=True, slots=True)
class Request:
    command: str
    """ADD, DEL, CHECK, GC or STATUS."""
    container: str
    netns: str
    """The path of the pod's network namespace; "" where it is gone."""
    arguments: Mapping[str, str]
    """K8S_POD_NAMESPACE, K8S_POD_NAME, ..."""
    config: Mapping[str, Any]
    """The plugin's own, with `prevResult`: what those before it have done."""

    @property
    def namespace(self) -> str:
        """The pod's; "" if it is no pod of Kubernetes."""
        return self.arguments.get("K8S_POD_NAMESPACE", "")

    @property
    def pod(self) -> str:
        return self.arguments.get("K8S_POD_NAME", "")

    @property
    def version(self) -> str:
        stated = self.config.get("cniVersion")
        return stated if isinstance(stated, str) and stated else _OLDEST

    @classmethod
    def parse(cls, data: bytes) -> Request:
        """Raises ValueError for what is none."""
        variables, end, config = data.partition(b"\0\0")
        if not end:
            raise ValueError("the request ends within its variables")
        named = dict(_pair(each) for each in variables.decode(errors="replace").split("\0"))
        try:
            decoded = msgspec.json.decode(config)
        except msgspec.DecodeError as error:
            raise ValueError(f"the network configuration is not JSON: {error}") from error
        if not isinstance(decoded, dict):
            raise ValueError("the network configuration is no JSON object")
        arguments = dict(_pair(each) for each in named.get("CNI_ARGS", "").split(";") if each)
        return cls(
            named.get("CNI_COMMAND", ""),
            named.get("CNI_CONTAINERID", ""),
            named.get("CNI_NETNS", ""),
            arguments,
            decoded,
        )


@dataclass(frozen=True, slots=True)
class Answer:
    code: int = 0
    """The plugin's exit code."""
    text: bytes = b""
    """What it prints."""

    def __bytes__(self) -> bytes:
        return bytes((self.code,)) + self.text


def succeed(request: Request) -> Answer:
    """A chained plugin passes on what those before it have done."""
    if request.command != "ADD":
        return Answer()
    result = request.config.get("prevResult") or {"cniVersion": request.version}
    return Answer(0, msgspec.json.encode(result))


def fail(version: str, code: Code, message: str, details: str = "") -> Answer:
    said = {"cniVersion": version, "code": int(code), "msg": message, **({"details": details} if details else {})}
    return Answer(1, msgspec.json.encode(said))


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name, value
