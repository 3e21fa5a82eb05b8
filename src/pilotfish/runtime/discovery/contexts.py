"""TLS as discovery speaks it: to whoever comes, and to a workload that it calls."""

from __future__ import annotations

import os
import ssl

from pilotfish.envoy.mutual_tls import SPOKEN
from pilotfish.model import Protocol
from pilotfish.model.private import PrivateBytes, reveal


def server_context(chain: bytes, key: PrivateBytes, roots: bytes) -> ssl.SSLContext:
    """Whoever shows a certificate must show one below the roots. PEM."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["h2"])
    made.verify_mode = ssl.CERT_OPTIONAL
    made.load_verify_locations(cadata=roots.decode())
    # Who comes again is looked at again.
    made.options |= ssl.OP_NO_TICKET
    made.num_tickets = 0
    _load(made, chain, key)
    return made


def web_context(chain: bytes, key: PrivateBytes) -> ssl.SSLContext:
    """HTTP for whoever trusts the roots; who asks shows no certificate. PEM."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    _load(made, chain, key)
    return made


def client_context(chain: bytes, key: PrivateBytes, roots: bytes) -> ssl.SSLContext:
    """Whose certificate a workload shows is the caller's to look at. PEM."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(list(SPOKEN[Protocol.HTTP]))
    made.check_hostname = False  # it names no host, but an identity
    made.load_verify_locations(cadata=roots.decode())
    _load(made, chain, key)
    return made


def _load(context: ssl.SSLContext, chain: bytes, key: PrivateBytes) -> None:
    # OpenSSL reads files; this one is in memory alone.
    descriptor = os.memfd_create("certificate")
    try:
        os.write(descriptor, chain + reveal(key))
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
