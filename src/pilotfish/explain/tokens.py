"""Whether a proxy believes a request's token: what Envoy's JWT filter does, with the keys that it was given.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/configuration/http/http_filters/jwt_authn_filter
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any, Final
from urllib.parse import parse_qsl

from pilotfish.explain.call import HttpRequest

_SKEW: Final = 60.0
"""Seconds by which clocks may differ: the filter's default."""
_HASHES: Final = {"256": "SHA256", "384": "SHA384", "512": "SHA512"}
_CURVES: Final = {"P-256": "SECP256R1", "P-384": "SECP384R1", "P-521": "SECP521R1"}


class UndecidedError(Exception):
    """It can't be told here; `str` says why."""


@dataclass(frozen=True, slots=True)
class Found:
    """A token, and where it stood."""

    text: str
    header: str = ""
    """The header's name, in lower case; "" where it was elsewhere."""


@dataclass(frozen=True, slots=True)
class Verdict:
    claims: Mapping[str, object] | None
    fault: str = ""
    status: int = 401


def find_tokens(provider: Any, request: HttpRequest) -> Iterator[Found]:
    """Where a provider looks for them."""
    query = request.path.partition("?")[2]
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    is_anywhere = not (provider.from_headers or provider.from_params or provider.from_cookies)
    headers = [(each.name.lower(), each.value_prefix) for each in provider.from_headers]
    for name, prefix in headers or ([("authorization", "Bearer ")] if is_anywhere else []):
        value = request.headers.get(name)
        if value is not None and prefix in value:
            yield Found(value.partition(prefix)[2].strip() if prefix else value.strip(), name)
    for name in provider.from_params or (["access_token"] if is_anywhere else []):
        if parameters.get(name):
            yield Found(parameters[name])
    for name in provider.from_cookies:
        if (text := _cookies(request).get(name)) is not None:
            yield Found(text)


def _cookies(request: HttpRequest) -> Mapping[str, str]:
    try:
        return {key: each.value for key, each in SimpleCookie(request.headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def verify(provider: Any, token: str, now: float) -> Verdict:
    """`now`: seconds since the epoch; at 0 nothing has expired. Raises UndecidedError."""
    parts = token.split(".")
    header, claims = (_decode(part) for part in parts[:2]) if len(parts) == 3 else (None, None)
    if header is None or claims is None:
        return Verdict(None, "it is no JSON Web Token")
    if provider.issuer and claims.get("iss") != provider.issuer:
        return Verdict(None, f"its issuer is {claims.get('iss')!r}, not {provider.issuer!r}")
    expires, begins = claims.get("exp"), claims.get("nbf")
    if now and isinstance(expires, int | float) and expires + _SKEW < now:
        return Verdict(None, "it has expired")
    if now and isinstance(begins, int | float) and begins - _SKEW > now:
        return Verdict(None, "it is not valid yet")
    said = claims.get("aud", [])
    named = set(said if isinstance(said, list) else [said])
    if provider.audiences and named.isdisjoint(provider.audiences):
        return Verdict(None, f"it is for {sorted(map(str, named))}, not for {sorted(provider.audiences)}", 403)
    if not _is_signed(provider, header, parts):
        return Verdict(None, "none of the issuer's keys has signed it")
    return Verdict(_as_lists(claims, provider.normalize_payload_in_metadata.space_delimited_claims))


def _as_lists(claims: Mapping[str, object], names: Any) -> Mapping[str, object]:
    split = {name: value.split(" ") for name in names if isinstance(value := claims.get(name), str)}
    return {**claims, **split}


def _decode(part: str) -> dict[str, Any] | None:
    try:
        found = json.loads(_bytes(part))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _bytes(text: str) -> bytes:
    """Base64url, with all of its padding or none. Raises ValueError."""
    if "+" in text or "/" in text:
        raise ValueError("it is not base64url")
    padded = text if text.endswith("=") else text + "=" * (-len(text) % 4)
    return b64decode(padded, altchars=b"-_", validate=True)


def _is_signed(provider: Any, header: Mapping[str, Any], parts: list[str]) -> bool:
    if not provider.local_jwks.inline_string:
        raise UndecidedError("the proxy fetches the issuer's keys itself")
    algorithm, kid = str(header.get("alg", "")), header.get("kid")
    try:
        keys = json.loads(provider.local_jwks.inline_string)["keys"]
        signature = _bytes(parts[2])
    except (ValueError, KeyError, TypeError):
        return False
    wanted = (key for key in keys if kid in (None, key.get("kid")) or "kid" not in key)
    signed = f"{parts[0]}.{parts[1]}".encode()
    return any(_has_signed(key, algorithm, signed, signature) for key in wanted)


def _has_signed(key: Mapping[str, Any], algorithm: str, signed: bytes, signature: bytes) -> bool:
    """Here, because nothing else of an explanation needs `cryptography`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    if key.get("alg", algorithm) != algorithm or algorithm in ("", "none"):
        return False
    kind, digits = algorithm[:2], algorithm[2:]
    if kind not in ("RS", "PS", "ES") or digits not in _HASHES:
        raise UndecidedError(f"tokens signed with {algorithm} are not read here")
    digest = getattr(hashes, _HASHES[digits])()
    try:
        if kind == "ES":
            x, y = (int.from_bytes(_bytes(key[name])) for name in ("x", "y"))
            # As Envoy does, of whatever length it is: tests/envoy/test_token_signatures.py.
            half = len(signature) // 2
            r, s = int.from_bytes(signature[:half]), int.from_bytes(signature[half : 2 * half])
            public = ec.EllipticCurvePublicNumbers(x, y, getattr(ec, _CURVES[key["crv"]])()).public_key()
            public.verify(encode_dss_signature(r, s), signed, ec.ECDSA(digest))
        else:
            n, e = (int.from_bytes(_bytes(key[name])) for name in ("n", "e"))
            rsa_key = rsa.RSAPublicNumbers(e, n).public_key()
            pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
            rsa_key.verify(signature, signed, pss if kind == "PS" else padding.PKCS1v15(), digest)
    except (InvalidSignature, ValueError, KeyError, TypeError):
        return False
    return True
