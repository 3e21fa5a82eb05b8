"""Certificates for tests, by openssl: each authority signs what it is asked to."""

from __future__ import annotations

import base64
import hashlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


class Authority:
    """NAME.pem and NAME.key in a folder that every user may read."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        made = ("-keyout", f"{name}.key", "-out", f"{name}.pem")
        self._openssl("req", "-x509", *_KEY, *made, "-subj", f"/CN={name}", "-days", "9")

    def issue(self, name: str, *hosts: str) -> None:
        """NAME.pem and NAME.key, for these hosts."""
        made = ("-keyout", f"{name}.key", "-out", f"{name}.csr")
        self._openssl("req", "-new", *_KEY, *made, "-subj", f"/CN={name}")
        extensions = self.folder / f"{name}.ext"
        extensions.write_text(f"subjectAltName={','.join(f'DNS:{host}' for host in hosts or (name,))}\n")
        signed = ("-CA", f"{self.name}.pem", "-CAkey", f"{self.name}.key", "-CAcreateserial", "-days", "9")
        self._openssl("x509", "-req", "-in", f"{name}.csr", *signed, "-extfile", extensions.name, "-out", f"{name}.pem")

    def fingerprint(self, name: str) -> str:
        """SHA-256 of the certificate, in hexadecimal."""
        return hashlib.sha256(self._openssl("x509", "-in", f"{name}.pem", "-outform", "DER")).hexdigest()

    def key_pin(self, name: str) -> str:
        """SHA-256 of the public key, in base64."""
        public = self._openssl("pkey", "-in", f"{name}.key", "-pubout", "-outform", "DER")
        return base64.b64encode(hashlib.sha256(public).digest()).decode()

    def revoke(self, *names: str) -> None:
        """crl.pem says that these are no longer good."""
        (self.folder / "index").touch()
        (self.folder / "ca.cnf").write_text("[ca]\ndefault_ca=x\n[x]\ndatabase=index\ndefault_md=sha256\n")
        by = ("-config", "ca.cnf", "-keyfile", f"{self.name}.key", "-cert", f"{self.name}.pem")
        for name in names:
            self._openssl("ca", *by, "-revoke", f"{name}.pem")
        self._openssl("ca", *by, "-gencrl", "-crldays", "9", "-out", "crl.pem")

    def _openssl(self, *arguments: str) -> bytes:
        return subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True).stdout


_KEY = ("-newkey", "rsa:2048", "-nodes")


@contextmanager
def authorities(*names: str) -> Iterator[tuple[Authority, ...]]:
    with TemporaryDirectory() as folder:
        path = Path(folder)
        yield tuple(Authority(path, name) for name in names)


def open_to_envoy(folder: Path) -> None:
    """Which is another user."""
    for path in (folder, *folder.iterdir()):
        path.chmod(0o755)
