"""What people are shown of certificates."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

from pilotfish.cli.render.identity import render_authority, render_certificates, render_time
from pilotfish.cli.render.secrets import render_secrets, select_secrets
from pilotfish.runtime.control.views import CertificateView, IdentityView, ProxyView
from tests.certificates import Issued, issue

NOW = 1_800_000_000.0
HOUR = 3600.0
ROOT = CertificateView(subject="CN=root", serial="1a", not_before=NOW - HOUR, not_after=NOW + 3 * 365 * 24 * HOUR)
NEXT = CertificateView(subject="CN=next", serial="2b", not_before=NOW, not_after=NOW + 10 * 24 * HOUR)


def proxy(pod: str, **more: Any) -> ProxyView:
    return ProxyView(namespace="vm", pod=pod, node_id="", ready=True, restarts=0, pid=1, **more)


def test_an_authority_in_change() -> None:
    view = IdentityView(
        trust_domain="cluster.local", source="made by pilotfish", signer=ROOT, roots=(ROOT, NEXT), signed=7, pem="",
        next=NEXT, next_at=NOW + 6,
    )  # fmt: skip
    assert render_authority(view, NOW) == (
        "trust domain: cluster.local\n"
        "authority:    made by pilotfish\n"
        "signs with:   CN=root, serial 1a, valid 3y\n"
        "follows:      CN=next, serial 2b, valid 10d; signs in 6 s\n"
        "trusts:       CN=root, serial 1a, valid 3y\n"
        "trusts:       CN=next, serial 2b, valid 10d\n"
        "signed:       7 certificates since discovery started\n"
    )


def test_certificates_of_proxies() -> None:
    me = "spiffe://cluster.local/ns/vm/sa/web"
    good = CertificateView(subject=me, serial="c0ffee", not_before=NOW, not_after=NOW + 23 * HOUR)
    old = CertificateView(subject=me, serial="bad", not_before=NOW, not_after=NOW - 300)
    proxies = (
        proxy("a", certificate=good),
        proxy("b", certificate=old, certificate_error="it is away"),
        proxy("c", certificate_error="the token is refused"),
    )
    assert render_certificates(proxies, NOW).text() == (
        "PROXY   IDENTITY                              SERIAL   VALID            RENEWAL\n"
        f"a.vm    {me}   c0ffee   23h              OK\n"
        f"b.vm    {me}   bad      expired 5m ago   it is away\n"
        "c.vm    <none>                                <none>   <none>           the token is refused\n"
    )


def encoded(*shown: Issued) -> dict[str, str]:
    return {"inline_bytes": base64.b64encode("".join(each.pem for each in shown).encode()).decode()}


def test_an_envoys_secrets() -> None:
    root = issue("root", is_ca=True)
    own, other = issue("web", root, "web.example.com"), issue("other", root, days=-1)
    pair = {"name": "default", "tls_certificate": {"certificate_chain": encoded(own, root)}}
    trust = {"name": "ROOTCA", "validation_context": {"trusted_ca": encoded(root, other)}}
    dump = {
        "configs": [
            {
                "@type": "type.googleapis.com/envoy.admin.v3.SecretsConfigDump",
                "dynamic_active_secrets": [{"name": "default", "secret": pair}, {"name": "ROOTCA", "secret": trust}],
                "dynamic_warming_secrets": [{"name": "kubernetes://later", "secret": {"name": "kubernetes://later"}}],
            }
        ]
    }
    now = own.certificate.not_valid_after_utc - timedelta(days=1)
    rows = [line.split() for line in render_secrets(select_secrets(dump), now.timestamp()).text().splitlines()[1:]]
    assert [row[0] for row in rows] == ["default", "ROOTCA", "ROOTCA", "kubernetes://later"]
    assert rows[0][1:6] == ["Cert", "Chain", "ACTIVE", "true", f"{own.certificate.serial_number:x}"]
    assert rows[0][-1] == "web.example.com"
    assert rows[0][7] == render_time(own.certificate.not_valid_after_utc.timestamp())
    assert rows[2][1:4] == ["CA", "ACTIVE", "false"]
    assert "WARMING" in rows[3]
