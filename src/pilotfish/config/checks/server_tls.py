"""How a proxy is told to end TLS.

Source: https://istio.io/latest/docs/reference/config/networking/gateway/#ServerTLSSettings
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error
from typing import Final

from pilotfish.config.checks.client_tls import check_config_map
from pilotfish.config.cipher_suites import is_cipher_suite, usable
from pilotfish.config.istio.gateway import ServerTLSSettings
from pilotfish.config.istio.sidecar import IngressTLSSettings
from pilotfish.config.report import Report

_MUTUAL: Final = ("MUTUAL", "OPTIONAL_MUTUAL")
_TERMINATING: Final = ("SIMPLE", *_MUTUAL)
_VERSIONS: Final = ("TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3")
_CURVES: Final = ("P-256", "P-384", "P-521", "X25519", "X25519MLKEM768")
_HASH: Final = re.compile(r"[0-9A-Fa-f]{64}|[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){31}")


def is_passthrough(tls: ServerTLSSettings) -> bool:
    return tls.mode in ("PASSTHROUGH", "AUTO_PASSTHROUGH")


def check_server_tls(tls: ServerTLSSettings, field: str, report: Report) -> None:
    if tls.mode in _TERMINATING:
        _check_certificate(tls, field, report)
        _check_clients(tls, field, report)
    else:
        _check_unused(tls, field, report)
    check_parameters(tls, field, report)


def _check_certificate(tls: ServerTLSSettings, field: str, report: Report) -> None:
    """From one place, and complete."""
    both = bool(tls.server_certificate and tls.private_key)
    given = {
        "credentialName": bool(tls.credential_name),
        "credentialNames": bool(tls.credential_names),
        "tlsCertificates": bool(tls.tls_certificates),
        "serverCertificate": both,
    }
    named = [name for name, is_given in given.items() if is_given]
    if len(named) > 1:
        report.invalid(f"{field}.{named[1]}", f"{named[0]} gives the certificate already", "keep one of the two")
    _check_number(tls, field, report)
    if tls.credential_name or tls.credential_names:
        return
    for index, pair in enumerate(tls.tls_certificates):
        _check_pair(pair.server_certificate, pair.private_key, f"{field}.tlsCertificates[{index}]", tls.mode, report)
    if not tls.tls_certificates:
        _check_pair(tls.server_certificate, tls.private_key, field, tls.mode, report)


def _check_number(tls: ServerTLSSettings, field: str, report: Report) -> None:
    for name, listed in (("tlsCertificates", tls.tls_certificates), ("credentialNames", tls.credential_names)):
        if len(listed) > 2:
            what = f"{tls.mode} takes two certificates, one for RSA and one for ECDSA, and the others are not used"
            report.warning(f"{field}.{name}", "UnusedField", f"{what}; remove them")


def _check_pair(certificate: str, key: str, field: str, mode: str, report: Report) -> None:
    for name, path in (("serverCertificate", certificate), ("privateKey", key)):
        if not path:
            report.missing(
                f"{field}.{name}", f"{mode} shows a certificate: name the file, or a Secret (credentialName)"
            )


def _check_clients(tls: ServerTLSSettings, field: str, report: Report) -> None:
    from_secret = tls.credential_name or tls.credential_names or tls.ca_cert_credential_name
    if tls.mode in _MUTUAL and not tls.ca_certificates and not from_secret:
        report.missing(f"{field}.caCertificates", f"{tls.mode} looks at clients' certificates: name who issues them")
    if tls.mode == "SIMPLE" and tls.ca_crl and not from_secret:
        report.invalid(f"{field}.caCrl", "SIMPLE looks at no client's certificate", "remove it, or write mode: MUTUAL")
    check_config_map(tls.ca_cert_credential_name, f"{field}.caCertCredentialName", report)
    check_pins(tls, field, report)


def check_pins(tls: ServerTLSSettings | IngressTLSSettings, field: str, report: Report) -> None:
    for index, pin in enumerate(tls.verify_certificate_spki):
        if not _is_digest(pin):
            what = f"{pin!r} is no SHA-256 in base64"
            report.invalid(f"{field}.verifyCertificateSpki[{index}]", what, "write that of the public key")
    for index, pin in enumerate(tls.verify_certificate_hash):
        if not _HASH.fullmatch(pin):
            what = f"{pin!r} is no SHA-256 in hexadecimal"
            report.invalid(f"{field}.verifyCertificateHash[{index}]", what, "write that of the certificate")


def _is_digest(text: str) -> bool:
    try:
        return len(b64decode(text, validate=True)) == 32
    except (Error, ValueError):
        return False


def _check_unused(tls: ServerTLSSettings, field: str, report: Report) -> None:
    """ISTIO_MUTUAL has the mesh's certificates; what is passed through shows the app's."""
    given = {
        "serverCertificate": tls.server_certificate,
        "privateKey": tls.private_key,
        "caCertificates": tls.ca_certificates,
        "credentialName": tls.credential_name,
        "credentialNames": tls.credential_names,
        "tlsCertificates": tls.tls_certificates,
        "caCrl": tls.ca_crl,
        "caCertCredentialName": tls.ca_cert_credential_name,
    }
    for name in (name for name, value in given.items() if value):
        if tls.mode == "ISTIO_MUTUAL":
            report.invalid(f"{field}.{name}", "ISTIO_MUTUAL has the mesh's own certificates", "remove it")
        else:
            what = f"{tls.mode} leaves TLS to the app, so it has no effect; remove it, or write mode: SIMPLE"
            report.warning(f"{field}.{name}", "UnusedField", what)


def check_parameters(tls: ServerTLSSettings | IngressTLSSettings, field: str, report: Report) -> None:
    """Versions, cipher suites and curves."""
    lowest, highest = tls.min_protocol_version, tls.max_protocol_version
    if lowest in _VERSIONS and highest in _VERSIONS and lowest > highest:
        report.invalid(f"{field}.minProtocolVersion", f"it is above {highest}", "write no more than maxProtocolVersion")
    if lowest in _VERSIONS[:2] and not any(suite.endswith("-SHA") for suite in usable(tls.cipher_suites)):
        what = "no cipher suite that Envoy takes by itself is of that version, so it has no effect; add cipherSuites"
        report.warning(f"{field}.minProtocolVersion", "UnusedField", f"{what} such as ECDHE-RSA-AES128-SHA")
    check_algorithms(tls.cipher_suites, tls.ecdh_curves, field, report)


def check_algorithms(suites: tuple[str, ...], curves: tuple[str, ...], field: str, report: Report) -> None:
    for index, suite in enumerate(suites):
        where = f"{field}.cipherSuites[{index}]"
        if not is_cipher_suite(suite):
            report.warning(where, "InvalidValue", f"{suite!r} is no cipher suite that Envoy knows, and is left out")
        elif suite in suites[:index]:
            report.warning(where, "InvalidValue", f"{suite} stands twice; remove one")
    if suites and not usable(suites):
        what = "it leaves no cipher suite, so the usual ones are used; name some"
        report.warning(f"{field}.cipherSuites", "InvalidValue", what)
    for index, curve in enumerate(curves):
        if curve not in _CURVES:
            known = ", ".join(_CURVES)
            report.invalid(f"{field}.ecdhCurves[{index}]", f"{curve!r} is no curve of Envoy's", f"write one of {known}")
