"""Service-account tokens: by which a pod's agent proves, once, whose certificate it may have.

They are JWTs as Kubernetes makes them, bound to a pod; ours also say which addresses it has. Whoever checks one knows
the maker's public key, and takes the algorithm from the key, never from the token.
Source: RFC 7515, RFC 7519, https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-tokens
"""

from __future__ import annotations

import base64
import json
import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pilotfish.model.private import PrivateStr, reveal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

AUDIENCE: Final = "istio-ca"
"""Of tokens by which a pod gets its certificate."""
OPERATOR: Final = "pilotfish-operator"
"""Audience and subject of the token of whoever runs the mesh: it names any identity, and changes roots."""
LIFETIME: Final = 600.0
"""Seconds: one is made for each request."""
LONGEST: Final = 16 << 10
"""Characters."""
_SKEW: Final = 60.0
"""Seconds by which the maker's clock may go ahead."""
ACCOUNT: Final = "system:serviceaccount:"
"""What the name of a service account begins with, before its namespace."""
_ALPHABET: Final = frozenset(f"{string.ascii_letters}{string.digits}-_")
_SIZE: Final = 32
"""Bytes of each half of an ECDSA signature on P-256 (RFC 7518, 3.4)."""


class RefusedTokenError(ValueError):
    """`str` says why, and shows nothing of the token."""


@dataclass(frozen=True, slots=True)
class Claims:
    """Whose a token is."""

    namespace: str
    account: str
    pod: str = ""
    """"" of a token that is bound to none."""
    uid: str = ""
    """The pod's."""
    addresses: tuple[str, ...] = ()
    """From where alone it is good; () from anywhere."""
    is_operator: bool = False
    machine: str = ""
    """The name of the machine whose proxy it is."""


def make_token(
    private_key: bytes, claims: Claims, now: float, *, audience: str = AUDIENCE, lifetime: float = LIFETIME
) -> PrivateStr:
    """`private_key`: ECDSA P-256, PEM. `lifetime`: seconds."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    signed = f"{_encode({'alg': 'ES256', 'typ': 'JWT'})}.{_encode(_payload(claims, now, audience, lifetime))}"
    key = load_pem_private_key(reveal(private_key), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("tokens are signed by ECDSA keys")
    numbers = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    signature = b"".join(number.to_bytes(_SIZE, "big") for number in numbers)
    return PrivateStr(f"{signed}.{_base64(signature)}")


def verify(token: str, keys: Iterable[bytes], audiences: frozenset[str], now: float) -> Claims:
    """`keys`: public keys that make such tokens, PEM. Raises RefusedTokenError."""
    header, payload, signature = _parts(token)
    signed = token.rpartition(".")[0].encode()
    if not any(_is_signed(signed, signature, header.get("alg"), key) for key in keys):
        raise RefusedTokenError("it is signed by nobody who may")
    return _claims(payload, _check(payload, audiences, now))


def glance(token: str, audiences: frozenset[str], now: float) -> float:
    """Refuse what can't be good, whoever signed it: RefusedTokenError. Returns when it expires, in seconds since the
    epoch."""
    payload = _parts(token)[1]
    _check(payload, audiences, now)
    expires = payload["exp"]
    return float(expires) if isinstance(expires, int | float) else now


def _parts(token: str) -> tuple[dict[str, object], dict[str, object], bytes]:
    """Header, payload and signature."""
    parts = token.split(".") if len(token) <= LONGEST else []
    if len(parts) != 3:
        raise RefusedTokenError("it is no signed token")
    return _decode(parts[0]), _decode(parts[1]), _bytes(parts[2])


def _check(payload: Mapping[str, object], audiences: frozenset[str], now: float) -> set[str]:
    """Those of the audiences that it is for."""
    _check_times(payload, now)
    audience = payload.get("aud")
    said = {audience} if isinstance(audience, str) else set(map(str, audience if isinstance(audience, list) else ()))
    if not said & audiences:
        raise RefusedTokenError(f"it is for {', '.join(sorted(said)) or 'nobody'}, and not for {AUDIENCE}")
    return said & audiences


def public_key(private_key: bytes) -> bytes:
    """PEM, of PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

    key = load_pem_private_key(reveal(private_key), password=None).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def check_public_key(pem: bytes) -> None:
    """Raises ValueError for a key that signs no token."""
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        algorithm = _algorithm(_load(pem))
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error
    if not algorithm:
        raise ValueError("it is neither an RSA key of 2048 bits or more, nor an ECDSA key on P-256")


def _payload(claims: Claims, now: float, audience: str, lifetime: float) -> dict[str, object]:
    begin = int(now)
    times = {"iat": begin, "nbf": begin, "exp": begin + int(lifetime)}
    if claims.is_operator:
        return {"iss": "pilotfish", "aud": [OPERATOR], "sub": OPERATOR, **times}
    bound: dict[str, object] = {"namespace": claims.namespace, "serviceaccount": {"name": claims.account}}
    if claims.pod:
        bound["pod"] = {"name": claims.pod, "uid": claims.uid}
    own: dict[str, object] = {"addresses": list(claims.addresses)} if claims.addresses else {}
    if claims.machine:
        own["machine"] = claims.machine
    said = {"pilotfish.io": own} if own else {}
    subject = f"{ACCOUNT}{claims.namespace}:{claims.account}"
    return {"iss": "pilotfish", "aud": [audience], "sub": subject, "kubernetes.io": bound, **said, **times}


def _claims(payload: Mapping[str, object], audiences: set[str]) -> Claims:
    subject = payload.get("sub")
    if subject == OPERATOR and OPERATOR in audiences:
        return Claims("", "", is_operator=True)
    namespace, colon, account = str(subject).removeprefix(ACCOUNT).partition(":")
    if AUDIENCE not in audiences or not str(subject).startswith(ACCOUNT) or not (namespace and colon and account):
        raise RefusedTokenError("it is no service account's")
    bound = _mapping(payload.get("kubernetes.io"))
    pod = _mapping(bound.get("pod"))
    own = _mapping(payload.get("pilotfish.io"))
    addresses = own.get("addresses")
    return Claims(
        namespace,
        account,
        str(pod.get("name") or ""),
        str(pod.get("uid") or ""),
        tuple(map(str, addresses)) if isinstance(addresses, list) else (),
        machine=str(own.get("machine") or ""),
    )


def _check_times(payload: Mapping[str, object], now: float) -> None:
    expires, begins = payload.get("exp"), payload.get("nbf", 0)
    if not isinstance(expires, int | float) or not isinstance(begins, int | float):
        raise RefusedTokenError("it does not say when it expires")
    if now >= expires:
        raise RefusedTokenError(f"it expired {now - expires:.0f} s ago")
    if now < begins - _SKEW:
        raise RefusedTokenError(f"it is not valid for {begins - now:.0f} s more")


def _is_signed(signed: bytes, signature: bytes, algorithm: object, pem: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    key = _load(pem)
    if algorithm != _algorithm(key):
        return False
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey) and len(signature) == 2 * _SIZE:
            halves = (int.from_bytes(half, "big") for half in (signature[:_SIZE], signature[_SIZE:]))
            key.verify(encode_dss_signature(*halves), signed, ec.ECDSA(hashes.SHA256()))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _load(pem: bytes) -> PublicKeyTypes:
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    return load_pem_public_key(pem)


def _algorithm(key: PublicKeyTypes) -> str:
    """What this key signs tokens with (RFC 7518, 3.1); "" for none."""
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(key, rsa.RSAPublicKey):
        return "RS256" if key.key_size >= 2048 else ""
    return "ES256" if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1" else ""


def _encode(value: Mapping[str, object]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _decode(part: str) -> dict[str, object]:
    try:
        found = json.loads(_bytes(part))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RefusedTokenError("it is no signed token")
    return found


def _bytes(part: str) -> bytes:
    """Of base64url without padding (RFC 7515, 2), for which Python takes the signs of plain base64 as well."""
    if not _ALPHABET.issuperset(part):
        raise RefusedTokenError("it is no signed token")
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise RefusedTokenError("it is no signed token") from None


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
