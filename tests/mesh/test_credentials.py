"""What Secrets give to those who refer to them, which form they may have, and what is said where they give nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from pilotfish.config import load
from pilotfish.derive import Graph
from pilotfish.mesh import inputs
from pilotfish.mesh.credentials import key_pair, trust
from pilotfish.model.credential import KeyPair, Lack, Trust, Unusable
from pilotfish.model.private import reveal
from tests.certificates import Issued, issue, revoke, secret

CA = issue("ca")
SERVER, OTHER = issue("server", CA), issue("other", CA)


def graph(text: str) -> Graph:
    loaded = load(text, "in.yaml")
    assert not loaded.problems
    made = Graph()
    inputs.apply(made, {m.ref: m for m in loaded.manifests})
    return made


@pytest.mark.parametrize(
    "keys", [{"tls_crt": SERVER.pem, "tls_key": SERVER.key}, {"cert": SERVER.pem, "key": SERVER.key}]
)
def test_a_key_pair_has_two_forms(keys: dict[str, str]) -> None:
    found = graph(secret("shop", **keys)).get(key_pair, "vm", "shop")
    assert isinstance(found, KeyPair)
    assert found.certificates.decode() == SERVER.pem
    assert reveal(found.private_key).decode() == SERVER.key


def test_text_goes_before_what_is_encoded() -> None:
    text = secret("shop", tls_crt=OTHER.pem, tls_key=OTHER.key).replace(
        '"data":', f'"stringData": {{"tls.crt": {SERVER.pem!r}, "tls.key": {SERVER.key!r}}}, "data":'.replace("'", '"')
    )
    found = graph(text).get(key_pair, "vm", "shop")
    assert isinstance(found, KeyPair)
    assert found.certificates.decode() == SERVER.pem


@pytest.mark.parametrize(
    ("text", "trusted"),
    [
        (secret("shop-cacert", cacert=CA.pem), CA.pem),
        (secret("shop-cacert", ca_crt=CA.pem), CA.pem),
        (secret("shop", ca_crt=CA.pem, tls_crt=SERVER.pem, tls_key=SERVER.key), CA.pem),
        (secret("shop", cacert=CA.pem), CA.pem),
        (secret("shop-cacert", cacert=CA.pem) + secret("shop", cacert=OTHER.pem), CA.pem),
    ],
)
def test_whom_to_trust_stands_in_a_secret_of_its_own_or_beside_the_pair(text: str, trusted: str) -> None:
    found = graph(text).get(trust, "vm", "shop")
    assert isinstance(found, Trust)
    assert found.ca_certificates.decode() == trusted


def test_a_list_of_revoked_certificates_is_taken_with_it() -> None:
    crl = revoke(CA, SERVER)
    found = graph(secret("shop", ca_crt=CA.pem, ca_crl=crl)).get(trust, "vm", "shop")
    assert isinstance(found, Trust)
    assert found.crl.decode() == crl


def _with_key(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> Issued:
    return issue("server", CA, key=key)


SMALL = _with_key(rsa.generate_private_key(65537, 1024))
CURVED = _with_key(ec.generate_private_key(ec.SECP256K1()))
EDWARDS = issue("server", CA, key=ed25519.Ed25519PrivateKey.generate())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"password": "x"}, "none of the keys for TLS, and not tls.crt and tls.key or cert and key"),
        ({"tls_crt": SERVER.pem}, "it holds tls.crt, and not"),
        ({"tls_crt": SERVER.pem, "tls_key": OTHER.key}, "tls.key is not the key of the certificate in tls.crt"),
        ({"cert": "no", "key": SERVER.key}, "cert holds no certificate in PEM"),
        ({"cert": SERVER.pem, "key": "secret text"}, "key is no private key in PEM"),
        ({"cert": SMALL.pem, "key": SMALL.key}, "an RSA key of 1024 bits"),
        ({"cert": CURVED.pem, "key": CURVED.key}, "neither RSA nor ECDSA"),
        ({"cert": EDWARDS.pem, "key": EDWARDS.key}, "neither RSA nor ECDSA"),
        ({"tls_crt": SERVER.pem, "tls_key": SERVER.key, "tls_ocsp-staple": "x"}, "tls.ocsp-staple is no OCSP response"),
    ],
)
def test_what_envoy_would_refuse_is_told_and_shows_nothing(keys: dict[str, str], message: str) -> None:
    found = graph(secret("shop", **keys)).get(key_pair, "vm", "shop")
    assert isinstance(found, Unusable)
    assert message in found.message
    assert found.lack is Lack.UNUSABLE
    assert "secret text" not in str(found)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"tls_crt": SERVER.pem}, "it holds tls.crt, and not ca.crt or cacert"),
        ({"ca_crt": "no"}, "ca.crt holds no certificate"),
        ({"ca_crt": CA.pem, "ca_crl": "no"}, "ca.crl is no list"),
    ],
)
def test_whom_to_trust_may_be_unreadable_too(keys: dict[str, str], message: str) -> None:
    found = graph(secret("shop", **keys)).get(trust, "vm", "shop")
    assert isinstance(found, Unusable)
    assert message in found.message


def test_a_secret_of_another_namespace_is_none() -> None:
    found = graph(secret("shop", "other", cert=SERVER.pem, key=SERVER.key)).get(key_pair, "vm", "shop")
    assert isinstance(found, Unusable)
    assert found.lack is Lack.UNKNOWN


def test_a_name_that_asks_for_whom_to_trust_is_none_of_a_pair() -> None:
    found = graph(secret("shop-cacert", cert=SERVER.pem, key=SERVER.key)).get(key_pair, "vm", "shop-cacert")
    assert isinstance(found, Unusable)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-set_serial", "0"), ""),
        (("-set_serial", "-5"), ""),
        (("-pkeyopt", "ec_param_enc:explicit"), "whose curve is written out"),
    ],
)
def test_certificates_of_other_tools_are_read_or_named(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    """A serial below 1 is none by RFC 5280, and is taken without a word."""
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key", "-out", "crt")
    command = ("openssl", "req", "-x509", *new, "-subj", "/CN=shop", "-days", "2", *options)
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    text = secret("shop", tls_crt=(tmp_path / "crt").read_text(), tls_key=(tmp_path / "key").read_text())
    found = graph(text).get(key_pair, "vm", "shop")
    if message:
        assert isinstance(found, Unusable)
        assert message in found.message
    else:
        assert isinstance(found, KeyPair)
