"""The public keys of a cluster's API server, as it publishes them: a JSON Web Key Set.

Source: RFC 7517, RFC 7518,
https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pilotfish.identity.tokens import check_public_key

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicNumbers
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers


def public_keys(keys: Iterable[Mapping[str, object]]) -> tuple[bytes, ...]:
    """PEM each, of those by which `tokens.verify` can check a token; others are passed over."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    found = []
    for key in keys:
        try:
            numbers = _rsa(key) if key.get("kty") == "RSA" else _elliptic(key)
            pem = numbers.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            check_public_key(pem)
        except (KeyError, ValueError, TypeError):
            continue
        found.append(pem)
    return tuple(found)


def _rsa(key: Mapping[str, object]) -> RSAPublicNumbers:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    return RSAPublicNumbers(_number(key["e"]), _number(key["n"]))


def _elliptic(key: Mapping[str, object]) -> EllipticCurvePublicNumbers:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers

    if (key.get("kty"), key.get("crv")) != ("EC", "P-256"):
        raise ValueError("no token is signed by such a key")
    return EllipticCurvePublicNumbers(_number(key["x"]), _number(key["y"]), SECP256R1())


def _number(text: object) -> int:
    content = str(text).encode()
    return int.from_bytes(base64.urlsafe_b64decode(content + b"=" * (-len(content) % 4)), "big")
