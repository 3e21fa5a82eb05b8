"""What signs certificates: a root of our own, or what a user plugs in.

The user's is Istio's four files: `ca-cert.pem` signs with `ca-key.pem`, `cert-chain.pem` leads from it to a root, and
`root-cert.pem` is whom to trust. Source: https://istio.io/latest/docs/tasks/security/cert-management/plugin-ca-cert/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from pilotfish.mesh.certificates import UnusableError, check_pair
from pilotfish.model.credential import AUTHORITY_FILES
from pilotfish.model.identity import Identity
from pilotfish.model.private import PrivateBytes, reveal

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

CERTIFICATE, KEY, CHAIN, ROOTS = AUTHORITY_FILES
_ROOT_YEARS: Final = 10
_BACKDATED: Final = timedelta(minutes=2)
"""For clocks that go behind, as Istio has it."""


@dataclass(frozen=True, slots=True)
class Authority:
    """Compares by what it is made of, so that a file saved anew without a change is none."""

    certificate: bytes
    """PEM: what signs."""
    key: PrivateBytes
    """PEM."""
    chain: bytes
    """PEM: what follows a certificate that it signed, as far as, and without, a root."""
    roots: bytes
    """PEM: whom to trust."""
    is_ours: bool = False
    """Made here, and not plugged in."""

    @property
    def expires_at(self) -> float:
        """When the first certificate on its way to the root ends, in seconds since the epoch."""
        on_the_way = load_all(self.certificate + self.chain)
        return min(each.not_valid_after_utc for each in on_the_way).timestamp()

    @property
    def fingerprint(self) -> str:
        """Of what signs: SHA-256, in hexadecimal digits."""
        return fingerprint(self.certificate)

    def sign(
        self,
        key: CertificatePublicKeyTypes,
        identity: Identity,
        seconds: float,
        now: float,
        names: Iterable[str] = (),
    ) -> bytes:
        """A certificate for the identity, valid for so long unless the authority ends before, and what follows it up to
        the root: PEM. `names`: DNS names beside the identity. UnusableError of an authority that has expired."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
        from cryptography.x509.oid import ExtendedKeyUsageOID

        signer = load_pem_private_key(reveal(self.key), password=None, unsafe_skip_rsa_key_validation=True)
        issuer = x509.load_pem_x509_certificate(self.certificate)
        until = min(now + seconds, self.expires_at)
        if until <= now:
            raise UnusableError("the certificate authority has expired")
        others = (x509.DNSName(name) for name in names)
        usages = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(issuer.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.fromtimestamp(now, UTC) - _BACKDATED)
            .not_valid_after(datetime.fromtimestamp(until, UTC))
            # Critical, as there is no subject (RFC 5280, 4.2.1.6).
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(identity)), *others]), critical=True
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True, key_encipherment=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(_authority_key(issuer), critical=False)
        )
        signed = builder.sign(signer, hashes.SHA256())  # type: ignore[arg-type]
        return _pem(signed) + self.chain


def make_root(trust_domain: str, now: float) -> Authority:
    """A root that signs by itself: ECDSA P-256, ten years."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    names = {x509.NameOID.ORGANIZATION_NAME: trust_domain[:64], x509.NameOID.COMMON_NAME: f"pilotfish {serial:x}"[:24]}
    subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in names.items()])
    begin = datetime.fromtimestamp(now, UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(begin - _BACKDATED)
        .not_valid_after(begin + timedelta(days=365 * _ROOT_YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    own = _pem(builder.sign(key, hashes.SHA256()))
    private = PrivateBytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Authority(own, private, b"", own, is_ours=True)


def read_authority(files: Mapping[str, bytes], now: float) -> Authority:
    """From Istio's four files by name. Raises UnusableError where certificates that it signs would be good for nothing.

    A chain may end with its root or before it, and is empty where `ca-cert.pem` is a root itself.
    """
    missing = [name for name in (CERTIFICATE, KEY, ROOTS) if not files.get(name, b"").strip()]
    if missing:
        raise UnusableError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    check_pair(files[CERTIFICATE], files[KEY], (CERTIFICATE, KEY))
    signer = _load(files[CERTIFICATE], CERTIFICATE)[0]
    roots = _load(files[ROOTS], ROOTS)
    chain = _load(files[CHAIN], CHAIN) if files.get(CHAIN, b"").strip() else []
    _check_signs(signer, CERTIFICATE)
    way = _way_up(signer, chain, roots)
    ended = [name for each, name in ((signer, CERTIFICATE), *((each, CHAIN) for each in way)) if _has_ended(each, now)]
    if ended:
        raise UnusableError(f"{ended[0]} has expired")
    return Authority(
        _pem(signer), PrivateBytes(files[KEY]), b"".join(map(_pem, way)), b"".join(dict.fromkeys(map(_pem, roots)))
    )


def load_all(pem: bytes) -> list[x509.Certificate]:
    """Those of a PEM text. ValueError if there is none."""
    from cryptography.x509 import load_pem_x509_certificates

    return load_pem_x509_certificates(pem)


def fingerprint(pem: bytes) -> str:
    """Of the first certificate: SHA-256, in hexadecimal digits."""
    from cryptography.hazmat.primitives import hashes

    return load_all(pem)[0].fingerprint(hashes.SHA256()).hex()


def merge_roots(bundles: Iterable[bytes]) -> bytes:
    """Each certificate once, in order."""
    return b"".join(dict.fromkeys(_pem(each) for bundle in bundles for each in load_all(bundle)))


def _way_up(
    signer: x509.Certificate, chain: list[x509.Certificate], roots: list[x509.Certificate]
) -> list[x509.Certificate]:
    """The certificates from `signer` on that lead to one of the roots, which is not among them."""
    way = [] if signer in roots else [signer]
    last = signer
    while last not in roots and not any(_issued(last, root) for root in roots):
        above = next((each for each in chain if each not in way and _issued(last, each)), None)
        if above is None:
            raise UnusableError(
                f"no certificate in {CHAIN} or {ROOTS} signed {'that' if last is signer else 'the last'} of "
                f"{CERTIFICATE if last is signer else CHAIN}; {CHAIN} must lead to a root in {ROOTS}"
            )
        _check_signs(above, CHAIN)
        if above in roots:
            break
        way.append(last := above)
    return way


def _has_ended(certificate: x509.Certificate, now: float) -> bool:
    return certificate.not_valid_after_utc.timestamp() <= now


def _issued(below: x509.Certificate, above: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        below.verify_directly_issued_by(above)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _check_signs(certificate: x509.Certificate, name: str) -> None:
    from cryptography import x509

    try:
        is_ca = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        is_ca = False
    if not is_ca:
        raise UnusableError(f"{name} is no authority's certificate: its basic constraints do not say CA:TRUE")
    try:
        signs = certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        signs = True
    if not signs:
        raise UnusableError(f"{name} may not sign certificates: its key usage lacks keyCertSign")


def _load(pem: bytes, name: str) -> list[x509.Certificate]:
    try:
        return load_all(pem)
    except ValueError:
        raise UnusableError(f"{name} holds no certificate in PEM, or one that can't be read") from None


def _authority_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    from cryptography import x509

    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _key_usage(**given: bool) -> x509.KeyUsage:
    from cryptography import x509

    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: given.get(name, False) for name in names})


def _pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)
