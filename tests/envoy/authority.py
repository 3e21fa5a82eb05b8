"""The certificates of a mesh: what its agents would have."""

from __future__ import annotations

from pathlib import Path

from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from pilotfish.envoy.naming import MESH_ROOTS, WORKLOAD_CERTIFICATE
from tests.certificates import Issued, issue


def spiffe(account: str, domain: str = "cluster.local") -> str:
    return f"spiffe://{domain}/ns/vm/sa/{account}"


class Authority:
    """A mesh's certificates, as files and as the secrets that an agent serves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = issue("root", is_ca=True)
        self.write("ca", self.root)
        self.own = issue("webapp", self.root, spiffe("webapp"))

    def write(self, name: str, issued: Issued) -> Path:
        """`NAME.pem` and `NAME.key`; gives NAME with its path."""
        (self.folder / f"{name}.pem").write_text(issued.pem)
        (self.folder / f"{name}.key").write_text(issued.key)
        return self.folder / name

    @property
    def secrets(self) -> dict[str, Secret]:
        shown, trusted = Secret(name=WORKLOAD_CERTIFICATE), Secret(name=MESH_ROOTS)
        shown.tls_certificate.certificate_chain.inline_string = self.own.pem
        shown.tls_certificate.private_key.inline_string = self.own.key
        trusted.validation_context.trusted_ca.inline_string = self.root.pem
        return {each.name: each for each in (shown, trusted)}
