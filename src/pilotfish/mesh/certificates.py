"""What certificates, keys and lists in PEM are good for: whatever Envoy would refuse of them is told here.

What is wrong is said without a word of what was read. Envoy's own conditions:
https://github.com/envoyproxy/envoy/blob/v1.40.0/source/common/tls/context_impl.cc
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
    from cryptography.x509 import Certificate

_SMALLEST_RSA: Final = 2048
_PRIME_FIELD: Final = bytes.fromhex("06072a8648ce3d0101")
"""The object identifier (RFC 3279, 2.3.5) with which a curve begins that is not named."""
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")


class UnusableError(ValueError):
    """What was read can't be used; `str` says why, and shows nothing of it."""


def check_pair(certificates: bytes, private_key: bytes, names: tuple[str, str]) -> float:
    """When the first of the certificates expires, in seconds since the epoch. `names`: what the two are called."""
    # Here, because of all of discovery only this needs it, and it takes 0.15 s and 10 MB.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    chain = _certificates(certificates, names[0])
    try:
        # That the primes of an RSA key are some takes 70 ms, of 4,096 bits 450 ms, and is for Envoy to find.
        key = load_pem_private_key(private_key, password=None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        raise UnusableError(f"{names[1]} is encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableError(f"{names[1]} is no private key in PEM") from None
    try:
        shown = chain[0].public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableError(f"{names[0]} has a key of a kind that can't be read") from None
    check_key(shown, names[0])
    if _PRIME_FIELD in chain[0].tbs_certificate_bytes:
        raise UnusableError(f"{names[0]} has a key whose curve is written out, and Envoy takes it by name alone")
    if _encoded(key.public_key()) != _encoded(shown):
        raise UnusableError(f"{names[1]} is not the key of the certificate in {names[0]}")
    return min(each.not_valid_after_utc for each in chain).timestamp()


def check_authorities(certificates: bytes, name: str) -> float:
    """When the last of them expires."""
    return max(each.not_valid_after_utc for each in _certificates(certificates, name)).timestamp()


def check_crl(crl: bytes, name: str) -> None:
    from cryptography.x509 import load_pem_x509_crl

    begin, found = b"-----BEGIN X509 CRL-----", crl.split(b"-----BEGIN X509 CRL-----")[1:]
    try:
        with _unwarned():
            for each in found:
                load_pem_x509_crl(begin + each)
    except ValueError:
        found = []
    if not found:
        raise UnusableError(f"{name} is no list of revoked certificates in PEM")


def check_staple(staple: bytes, name: str) -> None:
    from cryptography.x509.ocsp import load_der_ocsp_response

    try:
        with _unwarned():
            load_der_ocsp_response(staple)
    except ValueError:
        raise UnusableError(f"{name} is no OCSP response in DER") from None


def _certificates(text: bytes, name: str) -> list[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        with _unwarned():
            return load_pem_x509_certificates(text)
    except ValueError:
        raise UnusableError(f"{name} holds no certificate in PEM, or one that can't be read") from None


@contextmanager
def _unwarned() -> Iterator[None]:
    """What the library will read no longer, such as a serial of 0, is no news to a user: Envoy takes it."""
    from cryptography.utils import CryptographyDeprecationWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        yield


def check_key(key: PublicKeyTypes, name: str) -> None:
    """That Envoy takes such a key. `name`: what holds it."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    if isinstance(key, RSAPublicKey):
        if key.key_size < _SMALLEST_RSA:
            raise UnusableError(
                f"{name} has an RSA key of {key.key_size} bits, and Envoy takes {_SMALLEST_RSA} or more"
            )
    elif not isinstance(key, EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise UnusableError(f"{name} has a key that is neither RSA nor ECDSA on P-256, P-384 or P-521")


def _encoded(key: PublicKeyTypes) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
