"""What signs a mesh's certificates, and the certificates of its proxies."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from pilotfish.cli.render.age import render_age
from pilotfish.cli.render.table import NONE, Table, table
from pilotfish.runtime.control.views import CertificateView, IdentityView, ProxyView


def render_authority(view: IdentityView, now: float) -> str:
    """Lines, and an empty one at their end."""
    lines = [
        ("trust domain", ", just now also ".join((view.trust_domain, *view.other_domains))),
        ("authority", view.source),
        ("signs with", _certificate(view.signer, now)),
    ]
    if view.next is not None:
        wait = max(0.0, (view.next_at or now) - now)
        lines.append(("follows", f"{_certificate(view.next, now)}; signs in {wait:.0f} s"))
    lines += [("trusts", _certificate(root, now)) for root in view.roots]
    lines.append(("signed", f"{view.signed} certificates since discovery started"))
    return "".join(f"{name + ':':<14}{text}\n" for name, text in lines)


def render_certificates(proxies: Iterable[ProxyView], now: float) -> Table:
    rows = (
        (
            f"{proxy.pod}.{proxy.namespace}",
            proxy.certificate.subject if proxy.certificate else NONE,
            proxy.certificate.serial if proxy.certificate else NONE,
            render_until(proxy.certificate.not_after, now) if proxy.certificate else NONE,
            proxy.certificate_error or "OK",
        )
        for proxy in proxies
    )
    return table(("PROXY", "IDENTITY", "SERIAL", "VALID", "RENEWAL"), rows)


def render_until(at: float, now: float) -> str:
    """`23h`, `expired 5m ago`."""
    return render_age(at - now) if at > now else f"expired {render_age(now - at)} ago"


def render_time(at: float) -> str:
    """RFC 3339, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _certificate(view: CertificateView, now: float) -> str:
    return f"{view.subject}, serial {view.serial}, valid {render_until(view.not_after, now)}"
