"""The secrets that an Envoy holds, as `istioctl proxy-config secret` shows them.

Source: https://www.envoyproxy.io/docs/envoy/latest/api-v3/admin/v3/config_dump.proto (SecretsConfigDump)
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pilotfish.cli.render.dump import Json, at, items, section, text
from pilotfish.cli.render.identity import render_time
from pilotfish.cli.render.table import NONE, Table, table

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_STATES = (("static_secrets", "ACTIVE"), ("dynamic_active_secrets", "ACTIVE"), ("dynamic_warming_secrets", "WARMING"))
_KINDS = {
    "tls_certificate": ("Cert Chain", ("certificate_chain",)),
    "validation_context": ("CA", ("trusted_ca",)),
}


def select_secrets(dump: Json) -> list[Json]:
    """Each as the dump has it, and its state as `state`."""
    return [
        {**entry, "state": state}
        for config in section(dump, "SecretsConfigDump")
        for key, state in _STATES
        for entry in items(config, key)
    ]


def render_secrets(secrets: Iterable[Json], now: float) -> Table:
    """A row for each certificate: a chain's own first, and each of whom to trust. What servers and clients of an Envoy
    both have, its dump has twice."""
    header = ("NAME", "TYPE", "STATUS", "VALID", "SERIAL", "NOT BEFORE", "NOT AFTER", "NAMES")
    return table(header, dict.fromkeys(row for secret in secrets for row in _rows(secret, now)))


def _rows(secret: Json, now: float) -> Iterator[tuple[str, ...]]:
    name = text(secret, "secret", "name") or text(secret, "name")
    kind, content = _content(secret)
    certificates = _certificates(content)
    # Of a chain, what signed it is nothing that the proxy shows as its own.
    for each in certificates[:1] if kind == "Cert Chain" else certificates:
        begin, end = each.not_valid_before_utc.timestamp(), each.not_valid_after_utc.timestamp()
        valid = str(begin <= now < end).lower()
        serial = f"{each.serial_number:x}"
        yield name, kind, str(secret["state"]), valid, serial, render_time(begin), render_time(end), _names(each)
    if not certificates:
        yield name, kind or NONE, str(secret["state"]), "false", NONE, NONE, NONE, NONE


def _content(secret: Json) -> tuple[str, bytes]:
    """(what it is, the certificates in PEM)."""
    for field, (kind, path) in _KINDS.items():
        found = at(secret, "secret", field)
        if found is not None:
            source = at(found, *path)
            return kind, base64.b64decode(text(source, "inline_bytes")) or text(source, "inline_string").encode()
    return "", b""


def _certificates(pem: bytes) -> list[Certificate]:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(pem)
    except ValueError:
        return []


def _names(certificate: Certificate) -> str:
    """Its alternative names, or else its subject."""
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return certificate.subject.rfc4514_string() or NONE
    return ", ".join(str(name.value) for name in found)
