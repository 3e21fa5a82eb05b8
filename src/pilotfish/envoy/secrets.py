"""Secrets, as Envoy has them over ADS, and how whoever needs one refers to it.

A resource that refers to a secret names it in its `references` (`pair_reference`, `trust_reference`): whoever is sent
that resource is sent the secret with it, of its own namespace, and nobody else is, whatever they ask for. Envoy warms a
cluster or a listener until its secrets are there, so one refers to none that can't be had (`mesh/credentials`).

What stands in files of the proxy's pod is the agent's to read: Envoy asks it over HTTP (`agent/file_secrets`). Were the
files named here, one that is not there would have Envoy refuse the whole listener, and none would be read again.
Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/security/secret
"""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.core.v3.base_pb2 import DataSource
from envoy.config.core.v3.config_source_pb2 import ApiConfigSource, ApiVersion, ConfigSource
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import CertificateValidationContext, TlsCertificate
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig, Secret

from pilotfish.derive import Reads, query
from pilotfish.envoy.message import ads, seconds, serialise
from pilotfish.envoy.naming import FILES
from pilotfish.envoy.types import CLUSTER, LISTENER, SECRET
from pilotfish.envoy.values import Layer, Reference, Resource
from pilotfish.mesh.credentials import key_pair, trust
from pilotfish.model.credential import (
    KeyPair,
    PairFiles,
    Trust,
    TrustFiles,
    Unusable,
    key_pair_name,
    parse_name,
    trust_name,
)
from pilotfish.model.private import reveal


def pair_config(credential: str) -> SdsSecretConfig:
    """The certificate to show, with its key."""
    return SdsSecretConfig(name=key_pair_name(credential), sds_config=ads())


def trust_config(credential: str) -> SdsSecretConfig:
    """Whose certificates to trust."""
    return SdsSecretConfig(name=trust_name(credential), sds_config=ads())


def file_config(files: PairFiles | TrustFiles) -> SdsSecretConfig:
    """What the agent makes of these files."""
    return SdsSecretConfig(name=files.secret, sds_config=_agent())


def _agent() -> ConfigSource:
    """It answers as soon as it can give something, and again when that changes. Who needs the secret waits a second for
    it; then connections that need it are closed until it is there, and all others are served."""
    source = ApiConfigSource(
        api_type=ApiConfigSource.REST,
        transport_api_version=ApiVersion.V3,
        cluster_names=[FILES],
        refresh_delay=seconds(1),
        request_timeout=seconds(60),
    )
    return ConfigSource(api_config_source=source, resource_api_version=ApiVersion.V3, initial_fetch_timeout=seconds(1))


def pair_reference(credential: str) -> Reference:
    return SECRET, key_pair_name(credential)


def trust_reference(credential: str) -> Reference:
    return SECRET, trust_name(credential)


def secret_names(references: Iterable[Reference]) -> set[str]:
    return {name for type_url, name in references if type_url == SECRET}


def secrets_named(db: Reads, namespace: str, layers: Iterable[Layer]) -> Layer:
    """The secrets to which these resources refer."""
    naming = (layer for layer in layers if layer.type_url in (CLUSTER, LISTENER))
    names = secret_names(reference for layer in naming for reference in layer.references)
    found = (secret(db, namespace, name) for name in sorted(names))
    return Layer(SECRET, (each for each in found if each is not None))


@query
def secret(db: Reads, namespace: str, name: str) -> Resource | None:
    """None if there is none that could be used."""
    asked = parse_name(name)
    if asked is None:
        return None
    credential, is_trust = asked
    found = trust(db, namespace, credential) if is_trust else key_pair(db, namespace, credential)
    if isinstance(found, Unusable):
        return None
    message = _of_trust(name, found) if isinstance(found, Trust) else _of_pair(name, found)
    return Resource.make(SECRET, name, serialise(message), origin=db.origin)


def _of_pair(name: str, pair: KeyPair) -> Secret:
    shown = TlsCertificate(certificate_chain=_inline(pair.certificates), private_key=_inline(reveal(pair.private_key)))
    if pair.ocsp_staple:
        shown.ocsp_staple.CopyFrom(_inline(pair.ocsp_staple))
    return Secret(name=name, tls_certificate=shown)


def _of_trust(name: str, found: Trust) -> Secret:
    trusted = CertificateValidationContext(trusted_ca=_inline(found.ca_certificates))
    if found.crl:
        trusted.crl.CopyFrom(_inline(found.crl))
    return Secret(name=name, validation_context=trusted)


def _inline(content: bytes) -> DataSource:
    return DataSource(inline_bytes=content)
