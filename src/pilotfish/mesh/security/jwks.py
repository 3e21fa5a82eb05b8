"""Whether Envoy can verify anything with a set of keys: it refuses a listener that has a set without any good key.

Its conditions: https://github.com/envoyproxy/envoy/blob/v1.40.0/source/common/jwt/jwks.cc
"""

from __future__ import annotations

from base64 import urlsafe_b64decode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from pilotfish.config.checks.request_authentication import parse_keys

_ALGORITHMS: Final = {"RSA": ("RS", "PS"), "EC": ("ES",), "oct": ("HS",), "OKP": ("EdDSA",)}
"""How the names of a kind's algorithms begin."""
_CURVES: Final = {"P-256": "SECP256R1", "P-384": "SECP384R1", "P-521": "SECP521R1"}
_SMALLEST_RSA: Final = 512
_LARGEST_RSA: Final = 16 * 1024


@lru_cache(maxsize=256)
def has_usable_key(text: str) -> bool:
    """`text`: a JSON Web Key Set; what is none has no key."""
    return any(_is_usable(key) for key in parse_keys(text) or ())


def _is_usable(key: Mapping[str, Any]) -> bool:
    kind, algorithm = key.get("kty", ""), key.get("alg")
    if kind not in _ALGORITHMS or (algorithm is not None and not str(algorithm).startswith(_ALGORITHMS[kind])):
        return False
    try:
        match kind:
            case "RSA":
                return _is_rsa(_number(key["n"]), _number(key["e"]))
            case "EC":
                return _is_on_curve(key.get("crv", "P-256"), _number(key["x"]), _number(key["y"]))
            case "oct":
                return bool(_bytes(key["k"]))
            case _:
                return key.get("crv") == "Ed25519" and len(_bytes(key["x"])) == 32
    except (KeyError, ValueError, TypeError, AttributeError):
        return False


def _is_rsa(n: int, e: int) -> bool:
    return _SMALLEST_RSA <= n.bit_length() <= _LARGEST_RSA and n % 2 == 1 and 3 <= e < 2**33 and e % 2 == 1


def _is_on_curve(curve: str, x: int, y: int) -> bool:
    # Here, because of all of discovery little else needs it, and it takes 0.15 s and 10 MB.
    from cryptography.hazmat.primitives.asymmetric import ec

    ec.EllipticCurvePublicNumbers(x, y, getattr(ec, _CURVES[curve])()).public_key()
    return True


def _number(text: str) -> int:
    return int.from_bytes(_bytes(text))


def _bytes(text: str) -> bytes:
    if any(sign in text for sign in "+/"):
        raise ValueError("it is not base64url")
    return urlsafe_b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
