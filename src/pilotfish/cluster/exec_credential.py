"""What a program that makes credentials is told, and what it prints.

Source: https://kubernetes.io/docs/reference/config-api/client-authentication.v1/
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from pilotfish.cluster.kubeconfig import Plugin, Server
from pilotfish.model.private import PrivateBytes, PrivateStr
from pilotfish.model.struct import Frozen


@dataclass(frozen=True, slots=True)
class Credential:
    token: str = ""
    certificate: bytes | None = None
    """PEM, with its `key`."""
    key: bytes | None = None
    expires: datetime | None = None
    """None: when the API server refuses it."""


class ExecCredentialError(ValueError):
    """What was printed is no credential. `str` says why."""


class _Status(Frozen):
    token: str = ""
    certificate: str = msgspec.field(name="clientCertificateData", default="")
    key: str = msgspec.field(name="clientKeyData", default="")
    expires: datetime | None = msgspec.field(name="expirationTimestamp", default=None)


class _Printed(Frozen):
    kind: str = ""
    api_version: str = msgspec.field(name="apiVersion", default="")
    status: _Status | None = None


def exec_info(plugin: Plugin, server: Server, authority: bytes | None, interactive: bool) -> str:
    """The environment variable KUBERNETES_EXEC_INFO. `authority`: the server's CA, PEM."""
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.wants_cluster:
        spec["cluster"] = {
            key: value
            for key, value in {
                "server": server.url,
                "tls-server-name": server.tls_name,
                "insecure-skip-tls-verify": not server.verified,
                "certificate-authority-data": authority,
                "proxy-url": server.proxy,
                "disable-compression": not server.compress,
                "config": server.exec_config,
            }.items()
            if value not in ("", None, False)
        }
    document = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": spec}
    return msgspec.json.encode(document).decode()


def read_credential(printed: bytes, plugin: Plugin) -> Credential:
    """Raises ExecCredentialError."""
    try:
        found = msgspec.json.decode(printed, type=_Printed)
    except msgspec.DecodeError as error:
        raise ExecCredentialError(f"what it prints is no ExecCredential: {error}") from error
    if found.kind != "ExecCredential" or found.api_version != plugin.api_version:
        said = f"{found.api_version or 'no apiVersion'}, {found.kind or 'no kind'}"
        raise ExecCredentialError(f"it prints {said}, not {plugin.api_version}, ExecCredential")
    status = found.status
    if status is None or not (status.token or status.certificate):
        raise ExecCredentialError("its ExecCredential has neither a token nor a certificate")
    if bool(status.certificate) != bool(status.key):
        raise ExecCredentialError("its ExecCredential has a certificate or a key without the other")
    expires = status.expires
    if expires is not None and expires.tzinfo is None:
        expires = expires.replace(tzinfo=UTC)
    return Credential(
        PrivateStr(status.token) if status.token else "",
        status.certificate.encode() or None,
        PrivateBytes(status.key.encode()) if status.key else None,
        expires,
    )
