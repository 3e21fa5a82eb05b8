"""SDS, in both forms of the protocol: an Envoy asks for its two secrets by name, and has each anew when it changed.

Beside `ads`, which serves whatever a mesh comes to, this is a few names, none of which waits for another, in the
process that holds all agents and has no protobuf. A machine's Envoy asks for those of its pods, too, which come and
go. One `SdsStream` is one gRPC stream.
Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/security/secret,
https://www.envoyproxy.io/docs/envoy/v1.40.0/api-docs/xds_protocol
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from pilotfish.envoy.naming import MESH_ROOTS, WORKLOAD_CERTIFICATE
from pilotfish.envoy.wire import field, read_fields
from pilotfish.model.private import PrivateBytes, reveal

STREAM: Final = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"
DELTA: Final = "/envoy.service.secret.v3.SecretDiscoveryService/DeltaSecrets"
_TYPE: Final = b"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
_INLINE_BYTES: Final = 2
"""Of a DataSource."""


@dataclass(frozen=True, slots=True)
class Secret:
    """One of Envoy's, serialised."""

    body: PrivateBytes
    version: str


Secrets = Mapping[str, Secret]
"""By name."""


def build_secrets(chain: bytes, key: bytes, roots: bytes, name: str = WORKLOAD_CERTIFICATE) -> Secrets:
    """The certificate with what follows it, its key, and whom to trust: PEM each. `name`: of the first two."""
    shown = field(1, _inline(chain)) + field(2, _inline(reveal(key)))
    return {
        name: _secret(name, 2, shown, chain),
        MESH_ROOTS: _secret(MESH_ROOTS, 4, field(1, _inline(roots)), roots),
    }


class SdsStream:
    """`receive` and `update` return what is to be written: responses, serialised."""

    __slots__ = ("_asked", "_delta", "_given", "_has", "_nonce", "refusal")

    def __init__(self, *, delta: bool) -> None:
        self._delta = delta
        self._asked: dict[str, None] = {}
        self._has: dict[str, str] = {}
        """Versions by name."""
        self._given: dict[str, None] = {}
        """What it has from here."""
        self._nonce = 0
        self.refusal = ""
        """Envoy's words for what it last refused."""

    def receive(self, body: bytes, secrets: Secrets) -> tuple[bytes, ...]:
        """A request. Raises ValueError where it is none."""
        found: dict[int, list[bytes]] = {}
        for number, value in read_fields(body):
            if isinstance(value, bytes):
                found.setdefault(number, []).append(value)
        if self._delta:
            self._receive_delta(found)
        else:
            self._receive_world(found)
        return self.update(secrets)

    def update(self, secrets: Secrets) -> tuple[bytes, ...]:
        """The secrets are these now."""
        new = [name for name in self._asked if name in secrets and secrets[name].version != self._has.get(name)]
        # Of the state of the world nobody says that something of it is gone.
        gone = [name for name in self._given if name not in secrets] if self._delta else []
        if not new and not gone:
            return ()
        for name in gone:
            del self._given[name]
            self._has.pop(name, None)
        for name in new:
            self._has[name] = secrets[name].version
            self._given[name] = None
        self._nonce += 1
        if self._delta:
            return (self._delta_response({name: secrets[name] for name in new}, gone),)
        # The state of the world: also what is not new.
        return (self._world_response({name: secrets[name] for name in self._asked if name in secrets}),)

    def _receive_world(self, found: Mapping[int, list[bytes]]) -> None:
        self._asked = dict.fromkeys(name.decode() for name in found.get(3, ()))
        self._has = {name: version for name, version in self._has.items() if name in self._asked}
        self.refusal = _error(found.get(6))

    def _receive_delta(self, found: Mapping[int, list[bytes]]) -> None:
        for name in found.get(4, ()):
            self._asked.pop(name.decode(), None)
            self._has.pop(name.decode(), None)
        for name in found.get(3, ()):
            self._asked[name.decode()] = None
            self._has.pop(name.decode(), None)  # who asks anew has it no more
        for entry in found.get(5, ()):
            held = dict(read_fields(entry))
            known, version = held.get(1), held.get(2)
            if isinstance(known, bytes) and isinstance(version, bytes):
                self._has[known.decode()] = version.decode()
        self.refusal = _error(found.get(7))

    def _world_response(self, secrets: Secrets) -> bytes:
        version = hashlib.sha256("".join(each.version for each in secrets.values()).encode()).hexdigest()[:16]
        resources = b"".join(field(2, _any(each)) for each in secrets.values())
        return field(1, version.encode()) + resources + field(4, _TYPE) + field(5, str(self._nonce).encode())

    def _delta_response(self, secrets: Secrets, gone: Iterable[str]) -> bytes:
        resources = (
            field(1, each.version.encode()) + field(2, _any(each)) + field(3, name.encode())
            for name, each in secrets.items()
        )
        removed = b"".join(field(6, name.encode()) for name in gone)
        head = b"".join(field(2, each) for each in resources) + field(4, _TYPE)
        return head + field(5, str(self._nonce).encode()) + removed


def _secret(name: str, number: int, body: bytes, public: bytes) -> Secret:
    """Its version tells nothing of a key: each certificate has a key of its own."""
    content = field(1, name.encode()) + field(number, body)
    return Secret(PrivateBytes(content), hashlib.sha256(public).hexdigest()[:16])


def _inline(content: bytes) -> bytes:
    return field(_INLINE_BYTES, content)


def _any(secret: Secret) -> bytes:
    return field(1, _TYPE) + field(2, reveal(secret.body))


def _error(statuses: list[bytes] | None) -> str:
    """The message of a google.rpc.Status."""
    fields = dict(read_fields(statuses[-1])) if statuses else {}
    message = fields.get(2, b"")
    return message.decode(errors="replace")[:1000] if isinstance(message, bytes) else ""
