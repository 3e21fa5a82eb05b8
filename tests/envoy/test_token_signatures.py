"""Other spellings of a token's signature, against a real Envoy, and what `explain` says of them.

Envoy's library halves an ECDSA signature, whatever its length, and so takes an odd byte at its end, and zeros before
either number. It is the same signature of the same bytes, spelt differently, as with n - s, which every verifier of
ECDSA takes: nobody says by it what the issuer has not signed. But a token's text is no name of it: who keeps a list of
tokens that are withdrawn must go by a claim (`jti`).
"""

from __future__ import annotations

import json
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtProvider

from pilotfish.explain.tokens import verify
from tests.envoy.conftest import Start
from tests.envoy.test_authorization_attacks import ISSUER, KEY, ask_all, begin, encode, jwks, token, tokens

_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_CURVE: Final = ec.generate_private_key(ec.SECP256R1())
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def _jwks() -> str:
    """RSA's key, and the curve's."""
    point = _CURVE.public_key().public_numbers()
    x, y = (encode(each.to_bytes(32)) for each in (point.x, point.y))
    key = {"kty": "EC", "kid": "e", "alg": "ES256", "crv": "P-256", "x": x, "y": y}
    return json.dumps({"keys": [*json.loads(jwks(KEY))["keys"], key]})


def _same_bits(text: str) -> str:
    """The last sign has bits that mean nothing."""
    return text[:-1] + _ALPHABET[_ALPHABET.index(text[-1]) ^ 1]


def _spellings() -> dict[str, tuple[str, bool]]:
    """By what is tried: a token, and whether it is believed."""
    of_rsa = token()
    text = f"{encode(json.dumps({'alg': 'ES256', 'kid': 'e'}).encode())}.{of_rsa.split('.')[1]}"
    der = _CURVE.sign(text.encode(), ec.ECDSA(hashes.SHA256()))
    first, second = decode_dss_signature(der)
    r, s = first.to_bytes(32), second.to_bytes(32)
    good = f"{text}.{encode(r + s)}"
    other = encode(json.dumps({"iss": ISSUER, "sub": "root", "aud": "here"}).encode())
    return {
        "as it was made": (good, True),
        "one sign more": (good + "A", True),
        "one byte more": (f"{text}.{encode(r + s + b'x')}", True),
        "zeros before both numbers": (f"{text}.{encode(bytes(9) + r + bytes(9) + s)}", True),
        "n - s": (f"{text}.{encode(r + (_ORDER - second).to_bytes(32))}", True),
        "bits that mean nothing": (_same_bits(good), True),
        "padding": (good + "==", True),
        "half of the padding": (good + "=", False),
        "two signs more": (good + "AA", False),
        "four signs more": (good + "AAAA", False),
        "a byte less": (f"{text}.{encode(r + s[:-1])}", False),
        "zeros behind": (f"{text}.{encode(r + s + bytes(8))}", False),
        "DER": (f"{text}.{encode(der)}", False),
        "zero": (f"{text}.{encode(bytes(64))}", False),
        "the order": (f"{text}.{encode(_ORDER.to_bytes(32) + s)}", False),
        "nothing": (f"{text}.", False),
        "a sign of another alphabet": (good + "+", False),
        "one sign more in what is signed": (f"{text}A.{encode(r + s)}", False),
        "other claims": (f"{text.split('.')[0]}.{other}.{encode(r + s)}", False),
        "other claims, and one sign more": (f"{text.split('.')[0]}.{other}.{encode(r + s)}A", False),
        "RSA": (of_rsa, True),
        "RSA, bits that mean nothing": (_same_bits(of_rsa), True),
        "RSA, one sign more": (of_rsa + "A", False),
        "RSA, two signs more": (of_rsa + "AA", False),
    }


def test_no_spelling_of_a_signature_lets_other_claims_in_and_explain_agrees(start: Start) -> None:
    live = begin(start, tokens().replace(jwks(KEY), _jwks()))
    tried = _spellings()
    statuses = ask_all(live, (("/", "webapp", f"Authorization: Bearer {text}") for text, _ in tried.values()))
    expected = {name: 200 if is_believed else 401 for name, (_, is_believed) in tried.items()}
    assert dict(zip(tried, statuses, strict=True)) == expected
    provider = JwtProvider(issuer=ISSUER, audiences=["here"])
    provider.local_jwks.inline_string = _jwks()
    foreseen = {name: 401 if verify(provider, text, 0).claims is None else 200 for name, (text, _) in tried.items()}
    assert foreseen == expected
