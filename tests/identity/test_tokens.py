"""Tokens: what is refused, whoever made it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.identity.requests import new_key
from pilotfish.identity.tokens import (
    AUDIENCE,
    LIFETIME,
    OPERATOR,
    Claims,
    RefusedTokenError,
    check_public_key,
    make_token,
    public_key,
    verify,
)
from pilotfish.model.private import reveal

NOW = 1_800_000_000.0
KEY, OTHER = new_key(), new_key()
PUBLIC = public_key(KEY)
WEB = Claims("vm", "web", "web-0", "1-2-3", ("10.0.0.1", "fd00::1"))
AUDIENCES = frozenset((AUDIENCE,))
TOKEN = reveal(make_token(KEY, WEB, NOW))


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def decoded(token: str, index: int) -> dict[str, object]:
    text = token.split(".")[index]
    found: dict[str, object] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return found


def with_parts(token: str, header: object = None, payload: object = None, signature: str | None = None) -> str:
    parts = token.split(".")
    new = (header and part(header), payload and part(payload), signature)
    return ".".join(str(given if given is not None else old) for given, old in zip(new, parts, strict=True))


def test_what_was_said_is_what_is_read() -> None:
    assert verify(TOKEN, (PUBLIC,), AUDIENCES, NOW) == WEB
    assert verify(TOKEN, (public_key(OTHER), PUBLIC), AUDIENCES, NOW + LIFETIME - 1) == WEB
    machine = Claims("istio-system", "pilotfish-node", addresses=("10.0.0.1",), machine="box")
    assert verify(reveal(make_token(KEY, machine, NOW)), (PUBLIC,), AUDIENCES, NOW) == machine


def test_a_token_prints_as_nothing() -> None:
    assert f"{make_token(KEY, WEB, NOW)} {make_token(KEY, WEB, NOW)!r}" == "[redacted] [redacted]"


def _hmac(token: str) -> str:
    """Signed by the public key as if it were a shared secret."""
    signed = ".".join(with_parts(token, header={"alg": "HS256"}).split(".")[:2])
    digest = hmac.new(PUBLIC, signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


@pytest.mark.parametrize(
    ("token", "at", "why"),
    [
        (TOKEN, NOW + LIFETIME, "expired 0 s ago"),
        (TOKEN, NOW - 3600, "not valid for 3600 s more"),
        (reveal(make_token(OTHER, WEB, NOW)), NOW, "signed by nobody who may"),
        (with_parts(TOKEN, header={"alg": "none"}, signature=""), NOW, "signed by nobody who may"),
        (with_parts(TOKEN, header={"alg": "RS256"}), NOW, "signed by nobody who may"),
        (_hmac(TOKEN), NOW, "signed by nobody who may"),
        (with_parts(TOKEN, payload=decoded(TOKEN, 1) | {"sub": "system:serviceaccount:vm:bank"}), NOW, "nobody who"),
        (with_parts(TOKEN, payload=decoded(TOKEN, 1) | {"exp": NOW * 2}), NOW, "signed by nobody who may"),
        (with_parts(TOKEN, signature=""), NOW, "signed by nobody who may"),
        (with_parts(TOKEN, signature="!"), NOW, "no signed token"),
        (reveal(make_token(KEY, Claims("", "", is_operator=True), NOW)), NOW, f"for {OPERATOR}, and not for istio-ca"),
        ("", NOW, "no signed token"),
        ("a.b", NOW, "no signed token"),
        ("a.b.c", NOW, "no signed token"),
        ("W10.W10.W10", NOW, "no signed token"),
        ("x" * 20_000, NOW, "no signed token"),
    ],
)
def test_what_is_refused(token: str, at: float, why: str) -> None:
    with pytest.raises(RefusedTokenError, match=why):
        verify(token, (PUBLIC,), AUDIENCES, at)


def test_an_operators_token_is_good_where_operators_are_asked_for() -> None:
    token = reveal(make_token(KEY, Claims("", "", is_operator=True), NOW))
    assert verify(token, (PUBLIC,), AUDIENCES | {OPERATOR}, NOW).is_operator
    assert not verify(TOKEN, (PUBLIC,), AUDIENCES | {OPERATOR}, NOW).is_operator


def test_kubernetes_own_tokens_are_read() -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    bound = {"namespace": "vm", "pod": {"name": "web-0", "uid": "7"}, "serviceaccount": {"name": "web", "uid": "8"}}
    payload = {"aud": [AUDIENCE], "exp": NOW + 60, "sub": "system:serviceaccount:vm:web", "kubernetes.io": bound}
    signed = f"{part({'alg': 'RS256', 'kid': 'x'})}.{part(payload)}"
    signature = base64.urlsafe_b64encode(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))
    token = f"{signed}.{signature.rstrip(b'=').decode()}"
    assert verify(token, (PUBLIC, pem), AUDIENCES, NOW) == Claims("vm", "web", "web-0", "7")


@pytest.mark.parametrize(
    "payload", [{"exp": "soon"}, {"sub": "web"}, {"aud": None}, {"sub": "system:serviceaccount:vm:"}]
)
def test_what_its_maker_said_wrongly_is_refused(payload: dict[str, object]) -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    good = {"aud": AUDIENCE, "exp": NOW + 60, "sub": "system:serviceaccount:vm:web"}

    def sign(content: object) -> str:
        signed = f"{part({'alg': 'RS256'})}.{part(content)}"
        signature = key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    assert verify(sign(good), (pem,), AUDIENCES, NOW) == Claims("vm", "web")
    with pytest.raises(RefusedTokenError):
        verify(sign(good | payload), (pem,), AUDIENCES, NOW)


def test_keys_that_sign_no_tokens() -> None:
    check_public_key(PUBLIC)
    small = rsa.generate_private_key(65537, 1024).public_key()
    for pem in (b"", b"x", small.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)):
        with pytest.raises(ValueError):
            check_public_key(pem)


def test_a_token_has_one_spelling() -> None:
    """Base64url's; in plain base64 two of its signs are others."""
    spelt = next(token for token in _tokens() if "-" in token.rpartition(".")[2])
    assert verify(spelt, (PUBLIC,), AUDIENCES, NOW) == WEB
    with pytest.raises(RefusedTokenError):
        verify(spelt.replace("-", "+"), (PUBLIC,), AUDIENCES, NOW)


def _tokens() -> Iterator[str]:
    while True:
        yield reveal(make_token(KEY, WEB, NOW))


@given(st.integers(0, len(TOKEN) - 1), st.sampled_from("AZaz09-_.=+"))
def test_no_token_is_good_with_another_character(at: int, other: str) -> None:
    changed = TOKEN[:at] + other + TOKEN[at + 1 :]
    if changed == TOKEN:
        return
    try:
        claims = verify(changed, (PUBLIC,), AUDIENCES, NOW)
    except RefusedTokenError:
        return
    # The last character of a base64 text has bits that say nothing.
    assert at == len(TOKEN) - 1
    assert claims == WEB


@given(st.text(max_size=200))
def test_any_text_is_refused(text: str) -> None:
    with pytest.raises(RefusedTokenError):
        verify(text, (PUBLIC,), AUDIENCES, NOW)


def test_a_token_for_others_opens_nothing_of_the_mesh() -> None:
    """What a pod mounts (`serviceAccountToken`), whatever its manifest names as the audience."""
    for audience in ("vault", OPERATOR):
        token = reveal(make_token(KEY, WEB, NOW, audience=audience, lifetime=60))
        with pytest.raises(RefusedTokenError):
            verify(token, [PUBLIC], frozenset({AUDIENCE, OPERATOR}), NOW)
    own = reveal(make_token(KEY, WEB, NOW, lifetime=60))
    assert verify(own, [PUBLIC], frozenset({AUDIENCE}), NOW + 59) == WEB
    with pytest.raises(RefusedTokenError, match="expired"):
        verify(own, [PUBLIC], frozenset({AUDIENCE}), NOW + 60)
