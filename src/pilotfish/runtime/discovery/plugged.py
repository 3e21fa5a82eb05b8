"""A user's own certificate authority: Istio's four files in a directory, or the Secret `cacerts`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from pilotfish.config import kubernetes
from pilotfish.config.desired import DesiredState
from pilotfish.config.values import decode_base64
from pilotfish.identity.authority import Authority, read_authority
from pilotfish.mesh.certificates import UnusableError
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.credential import AUTHORITY_FILES, CACERTS
from pilotfish.model.kinds import SECRET


class Plugged:
    def __init__(self, directory: Path | None) -> None:
        """`directory`: with the files, which then count alone."""
        self.directory = directory
        self._secret: tuple[ObjectRef, Mapping[str, bytes]] | None = None
        self._stamp = self._look()

    def __str__(self) -> str:
        if self.directory is not None:
            return f"files in {self.directory}"
        return f"Secret {CACERTS} in {self._secret[0].namespace}" if self._secret is not None else "nothing"

    def read_objects(self, desired: DesiredState) -> bool:
        """Whether the Secret is another now."""
        before = self._secret
        ref = SECRET.ref(desired.mesh_config.root_namespace, CACERTS)
        manifest = desired.manifests.get(ref)
        resource = manifest.resource if manifest is not None else None
        self._secret = (ref, _data(resource)) if isinstance(resource, kubernetes.Secret) else None
        return before != self._secret

    def files_changed(self) -> bool:
        """Since the last time. Their contents are not looked at."""
        before, self._stamp = self._stamp, self._look()
        return before != self._stamp

    def read(self) -> Authority | None:
        """None if nothing is plugged in. Raises UnusableError."""
        if self.directory is not None:
            return read_authority(_read_files(self.directory), time.time())
        return read_authority(self._secret[1], time.time()) if self._secret is not None else None

    def problem(self, error: UnusableError) -> Problem:
        """That it can't be used, while another signs."""
        message = (
            f"the certificate authority ({self}) can't be used: {error}; the one before it goes on signing; mend it"
        )
        ref = self._secret[0] if self._secret is not None and self.directory is None else None
        return Problem(ref, "", "UnusableAuthority", message)

    def _look(self) -> object:
        if self.directory is None:
            return None
        found = []
        for name in AUTHORITY_FILES:
            try:
                status = (self.directory / name).stat()
            except OSError:
                continue
            found.append((name, status.st_mtime_ns, status.st_size, status.st_ino))
        return found


def _read_files(directory: Path) -> dict[str, bytes]:
    found = {}
    for name in AUTHORITY_FILES:
        try:
            found[name] = (directory / name).read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UnusableError(f"{name} can't be read: {error.strerror}") from error
    return found


def _data(secret: kubernetes.Secret) -> dict[str, bytes]:
    """What the text in `stringData` says goes before `data`. That this is base64, the Secret's checks have seen."""
    decoded: dict[str, bytes] = {n: decode_base64(secret.data[n]) for n in AUTHORITY_FILES if n in secret.data}
    return decoded | {n: secret.string_data[n].encode() for n in AUTHORITY_FILES if n in secret.string_data}
