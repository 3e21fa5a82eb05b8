"""What a proxy shows of itself over TLS, and whom it trusts, between Secrets and Envoy. All is PEM, but the staple.

Secret, ConfigMap ──mesh/credentials──▶ KeyPair, Trust or Unusable ──envoy/secrets──▶ Secret of Envoy's
files ──PairFiles, TrustFiles──▶ a name of Envoy's ──agent/file_secrets──▶ Secret of Envoy's
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pilotfish.model.kinds import CONFIG_MAP
from pilotfish.model.private import PrivateBytes
from pilotfish.model.ref import ObjectRef

CA_SUFFIX: Final = "-cacert"
"""Behind a credential's name: whom to trust, and not what to show."""
_PREFIX: Final = "kubernetes://"
_CONFIG_MAP: Final = "configmap://"
"""A credential that is a ConfigMap: NAMESPACE/NAME follow. It says whom to trust, and has nothing to show."""

PAIRS: Final = (("cert", "key"), ("tls.crt", "tls.key"))
"""The keys of a Secret with a certificate and its key; the first that are both there count."""
AUTHORITIES: Final = ("cacert", "ca.crt")
REVOKED: Final = ("crl", "ca.crl")
STAPLE: Final = "tls.ocsp-staple"
KEYS: Final = frozenset({*(key for pair in PAIRS for key in pair), *AUTHORITIES, *REVOKED, STAPLE})
"""All that is read of a Secret, but of CACERTS."""
CACERTS: Final = "cacerts"
"""The Secret of the root namespace that is the mesh's certificate authority."""
AUTHORITY_FILES: Final = ("ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem")
"""Its keys, and the files that are the same: what signs, its key, what leads to a root, and the roots."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    certificates: bytes
    """The proxy's own first, then those of who signed it."""
    private_key: PrivateBytes
    ocsp_staple: bytes = b""
    """DER; says that the certificate was not revoked."""
    expires_at: float = 0.0
    """Seconds since the epoch: when the first of the certificates does."""


@dataclass(frozen=True, slots=True)
class Trust:
    ca_certificates: bytes
    crl: bytes = b""
    """Certificates of theirs that are trusted no longer."""
    expires_at: float = 0.0
    """Seconds since the epoch: when the last of the certificates does."""


class Lack(StrEnum):
    """Why a Secret gives nothing: the reason of the Problem that says so."""

    UNKNOWN = "UnknownSecret"
    UNUSABLE = "UnusableSecret"


@dataclass(frozen=True, slots=True)
class Unusable:
    ref: ObjectRef
    """The Secret, or ConfigMap."""
    lack: Lack
    message: str
    """What is wrong, in words that show nothing of what the Secret holds."""
    remedy: str


def key_pair_name(credential: str) -> str:
    """What Envoy asks for by SDS, as with Istio."""
    return f"{_PREFIX}{credential}"


def trust_name(credential: str) -> str:
    return credential if is_config_map(credential) else f"{_PREFIX}{credential}{CA_SUFFIX}"


def is_config_map(credential: str) -> bool:
    return credential.startswith(_CONFIG_MAP)


def config_map_ref(credential: str) -> ObjectRef | None:
    """The ConfigMap that `configmap://NAMESPACE/NAME` is; None for what is not of that form."""
    namespace, _, name = credential.removeprefix(_CONFIG_MAP).partition("/")
    return CONFIG_MAP.ref(namespace, name) if is_config_map(credential) and namespace and name else None


def parse_name(name: str) -> tuple[str, bool] | None:
    """(credential, whether it is asked whom to trust) of what Envoy asks for; None for a name that is none of these."""
    if is_config_map(name):
        return name, True
    credential = name.removeprefix(_PREFIX)
    is_trust = credential.endswith(CA_SUFFIX)
    return (credential.removesuffix(CA_SUFFIX), is_trust) if credential != name else None


_PAIR_OF_FILES: Final = "file-cert:"
_TRUST_OF_FILES: Final = "file-root:"
_SEPARATOR: Final = "~"
_ESCAPES: Final = (("%", "%25"), (_SEPARATOR, "%7E"))


@dataclass(frozen=True, slots=True)
class PairFiles:
    """A certificate and its key, as files where a proxy runs."""

    certificates: str
    private_key: str

    @property
    def secret(self) -> str:
        """By which name the proxy asks its agent for them: Istio's."""
        return _PAIR_OF_FILES + _join(self.certificates, self.private_key)


@dataclass(frozen=True, slots=True)
class TrustFiles:
    """Whom to trust, as files where a proxy runs."""

    ca_certificates: str
    crl: str = ""

    @property
    def secret(self) -> str:
        return _TRUST_OF_FILES + (_join(self.ca_certificates, self.crl) if self.crl else _join(self.ca_certificates))


@dataclass(frozen=True, slots=True)
class UnusableFiles:
    """What a proxy is to have, and can't be given."""

    paths: tuple[str, ...]
    why: str
    """In words that show nothing of what they hold."""
    had: bool = False
    """They could once be used, and what they held then stays in force."""


def parse_file_secret(name: str) -> PairFiles | TrustFiles | None:
    """None for a name that is none of theirs."""
    if name.startswith(_PAIR_OF_FILES):
        certificates, _, private_key = name.removeprefix(_PAIR_OF_FILES).partition(_SEPARATOR)
        return PairFiles(_unescape(certificates), _unescape(private_key))
    if name.startswith(_TRUST_OF_FILES):
        ca_certificates, _, crl = name.removeprefix(_TRUST_OF_FILES).partition(_SEPARATOR)
        return TrustFiles(_unescape(ca_certificates), _unescape(crl))
    return None


def _join(*paths: str) -> str:
    return _SEPARATOR.join(map(_escape, paths))


def _escape(path: str) -> str:
    for plain, escaped in _ESCAPES:
        path = path.replace(plain, escaped)
    return path


def _unescape(text: str) -> str:
    for plain, escaped in reversed(_ESCAPES):
        text = text.replace(escaped, plain)
    return text
