"""How a proxy that calls a service over TLS is told to.

Source: https://istio.io/latest/docs/reference/config/networking/destination-rule/#ClientTLSSettings
"""

from __future__ import annotations

from pilotfish.config.istio.destination_rule import ClientTLSSettings
from pilotfish.config.report import Report
from pilotfish.model.credential import config_map_ref, is_config_map

_LONGEST_NAME = 255
_GATEWAYS_ONLY = (
    "it is for gateways: sidecars take no credential by name from a rule without a workloadSelector, as in Istio, so "
    "that what they send stays as it is; write a workloadSelector, or caCertificates and, for MUTUAL, "
    "clientCertificate and privateKey"
)


def check_client_tls(tls: ClientTLSSettings, field: str, report: Report) -> None:
    _check_files(tls, field, report)
    _check_authority(tls, field, report)
    _check_trust(tls, field, report)
    _check_use(tls, field, report)
    if len(tls.sni) > _LONGEST_NAME:
        report.invalid(f"{field}.sni", f"it is longer than {_LONGEST_NAME} characters", "write a host name")


def check_credential(tls: ClientTLSSettings, has_selector: bool, field: str, report: Report) -> None:
    """Of a rule, in whose namespace its ConfigMaps are."""
    if tls.mode not in ("SIMPLE", "MUTUAL"):
        return
    for name, text in (("credentialName", tls.credential_name), ("caCertCredentialName", tls.ca_cert_credential_name)):
        if is_config_map(text):
            _check_own(text, f"{field}.{name}", report)
        elif text and not has_selector:
            report.warning(f"{field}.{name}", "UnsupportedField", _GATEWAYS_ONLY)


def check_config_map(text: str, field: str, report: Report) -> None:
    if is_config_map(text) and config_map_ref(text) is None:
        report.invalid(field, f"{text!r} names no ConfigMap", "write configmap://NAMESPACE/NAME")


def _check_own(text: str, field: str, report: Report) -> None:
    check_config_map(text, field, report)
    found, own = config_map_ref(text), report.ref.namespace if report.ref is not None else ""
    if found is not None and found.namespace != own:
        report.invalid(field, f"{found} is not of the rule's namespace", f"write configmap://{own}/{found.name}")


def _check_files(tls: ClientTLSSettings, field: str, report: Report) -> None:
    files = {
        "clientCertificate": tls.client_certificate,
        "privateKey": tls.private_key,
        "caCertificates": tls.ca_certificates,
        "caCrl": tls.ca_crl,
    }
    if is_config_map(tls.credential_name) and tls.mode == "MUTUAL":
        what = "MUTUAL shows a certificate, and a ConfigMap has none"
        report.invalid(f"{field}.credentialName", what, "name a Secret; caCertCredentialName may name the ConfigMap")
    if tls.credential_name and tls.mode in ("SIMPLE", "MUTUAL"):
        for name in (name for name, path in files.items() if path):
            report.invalid(f"{field}.{name}", "credentialName gives this", f"write {name} or credentialName, not both")
    elif tls.mode == "MUTUAL":
        for name in ("clientCertificate", "privateKey"):
            if not files[name]:
                report.missing(f"{field}.{name}", f"MUTUAL shows a certificate: name the file with its {name}")


def _check_authority(tls: ClientTLSSettings, field: str, report: Report) -> None:
    if not tls.ca_cert_credential_name or tls.credential_name or tls.mode not in ("SIMPLE", "MUTUAL"):
        return
    for name, path in (("caCertificates", tls.ca_certificates), ("caCrl", tls.ca_crl)):
        if path:
            what = "caCertCredentialName gives this"
            report.invalid(f"{field}.{name}", what, f"write {name} or caCertCredentialName, not both")


def _check_use(tls: ClientTLSSettings, field: str, report: Report) -> None:
    """What a mode takes no notice of."""
    if tls.mode in ("SIMPLE", "MUTUAL"):
        return
    stated: dict[str, object] = {
        "clientCertificate": tls.client_certificate,
        "privateKey": tls.private_key,
        "caCertificates": tls.ca_certificates,
        "caCrl": tls.ca_crl,
        "credentialName": tls.credential_name,
        "caCertCredentialName": tls.ca_cert_credential_name,
        "insecureSkipVerify": tls.insecure_skip_verify,
    }
    what = "ISTIO_MUTUAL is of the mesh's own certificates"
    if tls.mode == "DISABLE":
        stated |= {"subjectAltNames": tls.subject_alt_names, "sni": tls.sni}
        what = "with DISABLE no TLS is spoken"
    for name in (name for name, value in stated.items() if value):
        text = f"{what}, so it has no effect; remove it, or write mode: SIMPLE or MUTUAL"
        report.warning(f"{field}.{name}", "UnusedField", text)


def _check_trust(tls: ClientTLSSettings, field: str, report: Report) -> None:
    """What compares the server's certificate means nothing where none is looked at."""
    if not tls.insecure_skip_verify or tls.mode not in ("SIMPLE", "MUTUAL"):
        return
    given = {
        "caCertificates": tls.ca_certificates,
        "caCertCredentialName": tls.ca_cert_credential_name,
        "subjectAltNames": tls.subject_alt_names,
    }
    if tls.mode == "SIMPLE":
        given["credentialName"] = tls.credential_name
    for name in (name for name, value in given.items() if value):
        remedy = f"remove {name}, or insecureSkipVerify"
        report.invalid(f"{field}.{name}", "insecureSkipVerify looks at no certificate", remedy)
