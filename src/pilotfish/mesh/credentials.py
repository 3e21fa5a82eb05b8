"""Secrets and ConfigMaps of Kubernetes as credentials of proxies.

    credentialName: shop ──▶ kubernetes://shop         a key pair: cert and key, or tls.crt and tls.key
                        └──▶ kubernetes://shop-cacert  whom to trust: cacert or ca.crt, of shop-cacert or else of shop
    configmap://ns/roots ──▶ configmap://ns/roots      the same, of a ConfigMap

A Secret is read in one namespace, that of the proxy which is to have it. What can't be used is `Unusable`, and so is
what Envoy would refuse: who refers to it stays without.
Source: https://istio.io/latest/docs/tasks/traffic-management/ingress/secure-ingress/#key-formats
"""

from __future__ import annotations

from collections.abc import Mapping

from pilotfish.config import kubernetes
from pilotfish.config.values import decode_base64
from pilotfish.derive import Reads, query
from pilotfish.mesh.certificates import UnusableError, check_authorities, check_crl, check_pair, check_staple
from pilotfish.mesh.inputs import resource
from pilotfish.model import ObjectRef
from pilotfish.model.credential import (
    AUTHORITIES,
    CA_SUFFIX,
    KEYS,
    PAIRS,
    REVOKED,
    STAPLE,
    KeyPair,
    Lack,
    Trust,
    Unusable,
    config_map_ref,
)
from pilotfish.model.kinds import SECRET
from pilotfish.model.private import PrivateBytes


@query
def key_pair(db: Reads, namespace: str, name: str) -> KeyPair | Unusable:
    """What `credentialName: NAME` shows."""
    ref = SECRET.ref(namespace, name)
    found = resource(db, ref, kubernetes.Secret)
    if name.endswith(CA_SUFFIX):
        what = f"a name that ends in {CA_SUFFIX} asks for whom to trust, and not for a key pair"
        return Unusable(ref, Lack.UNUSABLE, what, "call the Secret otherwise")
    if found is None:
        return _unknown(ref)
    try:
        return _read_pair(found)
    except UnusableError as error:
        return _unusable(ref, error)


@query
def trust(db: Reads, namespace: str, name: str) -> Trust | Unusable:
    """Whom `credentialName: NAME` trusts: what NAME-cacert says, or where there is none, NAME; or a ConfigMap."""
    if (at := config_map_ref(name)) is not None:
        return _trust_public(db, at)
    for each in (f"{name}{CA_SUFFIX}", name):
        ref = SECRET.ref(namespace, each)
        found = resource(db, ref, kubernetes.Secret)
        if found is not None:
            try:
                return _read_trust(_data(found))
            except UnusableError as error:
                return _unusable(ref, error)
    return _unknown(SECRET.ref(namespace, name))


def _trust_public(db: Reads, ref: ObjectRef) -> Trust | Unusable:
    found = resource(db, ref, kubernetes.ConfigMap)
    if found is None:
        return _unknown(ref)
    try:
        return _read_trust({key: text.encode(errors="replace") for key, text in found.data.items()})
    except UnusableError as error:
        return _unusable(ref, error)


@query
def lacking_pair(db: Reads, namespace: str, name: str) -> Unusable | None:
    """Why there is no key pair. A rotated one is no news to who asks this."""
    found = key_pair(db, namespace, name)
    return found if isinstance(found, Unusable) else None


@query
def lacking_trust(db: Reads, namespace: str, name: str) -> Unusable | None:
    """Why it is not known whom to trust."""
    found = trust(db, namespace, name)
    return found if isinstance(found, Unusable) else None


def _unknown(ref: ObjectRef) -> Unusable:
    return Unusable(ref, Lack.UNKNOWN, f"there is no {ref}", "add it, or correct the name")


def _unusable(ref: ObjectRef, error: UnusableError) -> Unusable:
    return Unusable(ref, Lack.UNUSABLE, f"{ref} can't be used: {error}", f"mend the {ref.kind.name}")


def _read_pair(secret: kubernetes.Secret) -> KeyPair:
    data = _data(secret)
    names = next((names for names in PAIRS if all(data.get(name) for name in names)), None)
    if names is None:
        wanted = " or ".join(" and ".join(pair) for pair in reversed(PAIRS))
        raise UnusableError(f"it holds {_keys(data)}, and not {wanted}")
    certificates, private_key = (data[name] for name in names)
    expires_at = check_pair(certificates, private_key, names)
    if staple := data.get(STAPLE, b""):
        check_staple(staple, STAPLE)
    return KeyPair(certificates, PrivateBytes(private_key), staple, expires_at)


def _read_trust(data: Mapping[str, bytes]) -> Trust:
    name = next((name for name in AUTHORITIES if data.get(name)), None)
    if name is None:
        raise UnusableError(f"it holds {_keys(data)}, and not {' or '.join(reversed(AUTHORITIES))}")
    expires_at = check_authorities(data[name], name)
    listed = next((each for each in REVOKED if data.get(each)), None)
    if listed is not None:
        check_crl(data[listed], listed)
    return Trust(data[name], data[listed] if listed is not None else b"", expires_at)


def _keys(data: Mapping[str, bytes]) -> str:
    return ", ".join(sorted(KEYS & data.keys())) or "none of the keys for TLS"


def _data(secret: kubernetes.Secret) -> dict[str, bytes]:
    """What the text in `stringData` says goes before `data`. That this is base64, the Secret's checks have seen."""
    decoded = {key: decode_base64(value) for key, value in secret.data.items() if key in KEYS}
    return decoded | {key: value.encode(errors="replace") for key, value in secret.string_data.items() if key in KEYS}
