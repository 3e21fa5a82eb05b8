"""Certificates and keys in files of a pod, as its Envoy asks its agent for them.

    name ──parse_file_secret──▶ PairFiles, TrustFiles ──read──▶ contents ──build_secret──▶ FileSecret ──render──▶ JSON

Envoy asks by SDS over REST, whose answers are JSON: an agent has no protobuf. What it would refuse is found here.
The names, and who reads the files, are Istio's. Source:
https://www.envoyproxy.io/docs/envoy/v1.40.0/api-docs/xds_protocol#rest-json-polling-subscriptions
https://github.com/istio/istio/blob/master/security/pkg/nodeagent/cache/secretcache.go
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from pilotfish.mesh.certificates import check_authorities, check_crl, check_pair
from pilotfish.model.credential import PairFiles, TrustFiles
from pilotfish.model.private import PrivateBytes, reveal

_SECRET: Final = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
PATH: Final = "/v3/discovery:secrets"
LARGEST: Final = 1 << 20
"""Bytes of a file; Envoy has a limit of the same kind, of the answer."""


@dataclass(frozen=True, slots=True)
class FileSecret:
    version: str
    answer: PrivateBytes
    expires_at: float
    """Seconds since the epoch: from when on nobody is convinced by it."""

    @property
    def body(self) -> bytes:
        return reveal(self.answer)


def paths_of(files: PairFiles | TrustFiles) -> tuple[str, ...]:
    if isinstance(files, PairFiles):
        return files.certificates, files.private_key
    return (files.ca_certificates, files.crl) if files.crl else (files.ca_certificates,)


def build_secret(files: PairFiles | TrustFiles, contents: Mapping[str, bytes]) -> FileSecret:
    """What Envoy is answered. `UnusableError` if it would refuse it."""
    paths = paths_of(files)
    secret, expires_at = _pair(files, contents) if isinstance(files, PairFiles) else _trust(files, contents)
    version = sha256(b"".join(sha256(contents[path]).digest() for path in paths)).hexdigest()
    resource = {"@type": _SECRET, "name": files.secret, **secret}
    answer = {"version_info": version, "type_url": _SECRET, "resources": [resource]}
    return FileSecret(version, PrivateBytes(json.dumps(answer).encode()), expires_at)


def describe_expired(files: PairFiles | TrustFiles, expires_at: float) -> str:
    day = datetime.fromtimestamp(expires_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
    which = "a certificate" if isinstance(files, PairFiles) else "the last certificate"
    return f"{which} in {paths_of(files)[0]} expired on {day}"


def _pair(files: PairFiles, contents: Mapping[str, bytes]) -> tuple[dict[str, object], float]:
    certificates, private_key = contents[files.certificates], contents[files.private_key]
    expires_at = check_pair(certificates, private_key, (files.certificates, files.private_key))
    shown = {"certificate_chain": _inline(certificates), "private_key": _inline(private_key)}
    return {"tls_certificate": shown}, expires_at


def _trust(files: TrustFiles, contents: Mapping[str, bytes]) -> tuple[dict[str, object], float]:
    trusted = {"trusted_ca": _inline(contents[files.ca_certificates])}
    expires_at = check_authorities(contents[files.ca_certificates], files.ca_certificates)
    if files.crl:
        check_crl(contents[files.crl], files.crl)
        trusted["crl"] = _inline(contents[files.crl])
    return {"validation_context": trusted}, expires_at


def _inline(content: bytes) -> dict[str, str]:
    return {"inline_bytes": b64encode(content).decode()}
