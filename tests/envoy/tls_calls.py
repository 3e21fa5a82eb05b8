"""One request over TLS, and what the client saw of the server."""

from __future__ import annotations

import ssl
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from tests.envoy.calls import connect, pieces


@dataclass(frozen=True)
class Seen:
    answer: str = ""
    """Text that begins with ERROR if none came."""
    certificate: str = ""
    """The server's common name."""
    version: str = ""
    alpn: str = ""
    cipher: str = ""


def call_tls(
    netns: str,
    address: str,
    port: int,
    sent: str,
    *,
    server_name: str = "",
    trusted: Path,
    shown: Path | None = None,
    alpn: tuple[str, ...] = (),
    highest: str = "",
    curve: str = "",
    source: str = "",
) -> Seen:
    """`trusted` is the authority's certificate, `shown` NAME of the client's NAME.pem and NAME.key, `highest` the
    highest version that it speaks (`TLSv1_1`), `curve` the only one that it knows (`secp384r1`), `source` the address
    that it calls from."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(trusted)
    if shown is not None:
        context.load_cert_chain(f"{shown}.pem", f"{shown}.key")
    if alpn:
        context.set_alpn_protocols(alpn)
    if curve:
        context.set_ecdh_curve(curve)
    if highest:
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            context.minimum_version = ssl.TLSVersion.TLSv1
            context.maximum_version = ssl.TLSVersion[highest]
    seen = Seen()
    try:
        with (
            connect(netns, address, port, source) as plain,
            context.wrap_socket(plain, server_hostname=server_name or None) as tls,
        ):
            seen = _seen(tls)
            tls.sendall(sent.encode())
            return replace(seen, answer=b"".join(pieces(tls, stops=True)).decode())
    except OSError as error:
        return replace(seen, answer=f"ERROR {error}")


def _seen(tls: ssl.SSLSocket) -> Seen:
    subject = (tls.getpeercert() or {}).get("subject", ())
    name = "".join(value for part in subject for key, value in part if key == "commonName")  # type: ignore
    cipher = tls.cipher()
    return Seen("", name, tls.version() or "", tls.selected_alpn_protocol() or "", cipher[0] if cipher else "")
