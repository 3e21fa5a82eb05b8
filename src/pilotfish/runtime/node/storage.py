"""The directories of PersistentVolumeClaims that are gone."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path

from pilotfish.model import ObjectRef
from pilotfish.model.kinds import PERSISTENT_VOLUME_CLAIM
from pilotfish.node.claims import claims_of
from pilotfish.node.identity import PodIdentity
from pilotfish.node.store import Store
from pilotfish.runtime.tasks import Tasks
from pilotfish.runtime.thread import in_thread

_log = logging.getLogger(__name__)


class ClaimDirectories:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._seen: set[ObjectRef] = set()
        self._version = -1
        """Of the store that was last looked at."""
        self._number = itertools.count()
        self._removing = Tasks()

    def sweep(self, store: Store, pods: Iterable[PodIdentity]) -> None:
        """Removes what no claim stands for any more, once no pod has it. Of the machine's directories, nothing."""
        if self._version != store.version:
            self._version = store.version
            self._seen.update(ref for ref in store.objects if ref.kind is PERSISTENT_VOLUME_CLAIM)
        gone = {ref for ref in self._seen if ref not in store.objects}
        if gone:
            gone -= {ref for pod in pods for ref in claims_of(pod)}
        for ref in gone:
            self._seen.discard(ref)
            self._remove(self.directory / f"{ref.namespace}.{ref.name}")

    async def close(self) -> None:
        await self._removing.ended()

    def _remove(self, path: Path) -> None:
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            # A claim of the same name begins with an empty one.
            doomed = path.rename(self.directory / f".{next(self._number)}")
            self._removing.keep(_remove_tree(doomed))


async def _remove_tree(path: Path) -> None:
    try:
        await in_thread(lambda: shutil.rmtree(path))
    except OSError as error:
        _log.warning("the directory of a claim that is gone stays until the mesh goes: %s", error)
