"""A certificate that another than the mesh's authority gives a pod, at the places that Istio's agent looks at.

Source: https://istio.io/latest/docs/ops/integrations/spire/
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from pilotfish.identity.authority import load_all
from pilotfish.identity.sds import Secrets, build_secrets
from pilotfish.mesh.certificates import UnusableError, check_authorities, check_pair
from pilotfish.model.private import PrivateBytes
from pilotfish.model.wellknown import IDENTITY_FILES, IDENTITY_SOCKET
from pilotfish.runtime.agent.spec import CertificateStatus
from pilotfish.runtime.certificates import describe
from pilotfish.runtime.linux.process import BindMount
from pilotfish.runtime.thread import in_thread

_LOOK: Final = 2.0
"""Seconds between looks at the files: they are links, as a rule, which are replaced."""
MACHINE: Final = tuple(
    BindMount(place, place) for place in (str(PurePosixPath(IDENTITY_SOCKET).parent), *(d for d, _ in IDENTITY_FILES))
)
"""The places, of a pod that sees the machine's own files."""


@dataclass(frozen=True, slots=True)
class ExternalSocket:
    """Another's SDS."""

    mount: BindMount
    """The directory that it is in."""


@dataclass(frozen=True, slots=True)
class ExternalFiles:
    chain: Path
    key: Path
    roots: Path


def find_external(places: tuple[BindMount, ...]) -> ExternalSocket | ExternalFiles | None:
    """The first that is there: a socket before files."""
    at = {str(PurePosixPath(mount.target)): mount for mount in places}
    socket = PurePosixPath(IDENTITY_SOCKET)
    mount = at.get(str(socket.parent))
    if mount is not None and Path(mount.source, socket.name).is_socket():
        return ExternalSocket(mount)
    for directory, names in IDENTITY_FILES:
        mount = at.get(directory)
        if mount is not None and all(Path(mount.source, name).is_file() for name in names):
            return ExternalFiles(*(Path(mount.source, name) for name in names))
    return None


class FileCertificates:
    """Serves what is in files, and anew when they change; what can't be used is left as it was."""

    def __init__(self, files: ExternalFiles, on_change: Callable[[], None]) -> None:
        self.status = CertificateStatus()
        self.secrets: Secrets = {}
        self._files = files
        self._on_change = on_change
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _keep(self) -> None:
        seen: object = None
        while True:
            try:
                content = await in_thread(self._read)
                if content != seen:
                    self._take(*content)
                    seen = content
            except (OSError, UnusableError) as error:
                since = self.status.failing_since or time.time()
                self.status = CertificateStatus(self.status.certificate, f"{self._files.chain.parent}: {error}", since)
                self._on_change()
            await asyncio.sleep(_LOOK)

    def _read(self) -> tuple[bytes, bytes, bytes]:
        files = self._files
        return files.chain.read_bytes(), files.key.read_bytes(), files.roots.read_bytes()

    def _take(self, chain: bytes, key: bytes, roots: bytes) -> None:
        files = self._files
        check_pair(chain, key, (files.chain.name, files.key.name))
        check_authorities(roots, files.roots.name)
        self.secrets = build_secrets(chain, PrivateBytes(key), roots)
        self.status = CertificateStatus(describe(load_all(chain)[0]))
        self._on_change()
