"""What the bytes of one file hold."""

from __future__ import annotations

import logging

from pilotfish.config import ListReader, load_in_pieces, load_mesh_config
from pilotfish.config.manifest import Loaded, WrittenMeshConfig
from pilotfish.model import Problem, Source
from pilotfish.runtime.source.reading import Text, Unreadable
from pilotfish.runtime.turns import in_turns

_log = logging.getLogger(__name__)


class Parser:
    """One file's, which is read again and again."""

    def __init__(self, name: str, namespace: str, is_mesh_config: bool = False) -> None:
        """`namespace`: of objects that name none."""
        self._name = name
        self._namespace = namespace
        self._is_mesh_config = is_mesh_config
        # What the node tells discovery is a List in JSON, and most of it as it was.
        self._reader = ListReader(name, namespace) if name.endswith(".json") else None

    async def parse(self, content: Text | Unreadable) -> Loaded:
        """Never raises: whatever a file holds, others have their say, and their turn while it is read."""
        if isinstance(content, Unreadable):
            return self._unread(content.reason, content.message)
        try:
            return await self._parse(content.data)
        except Exception as error:
            _log.exception("%s", self._name)
            message = f"a fault in pilotfish, so that its objects stay as they were: {error!r}; its log says more"
            return self._unread("InternalError", message)

    async def _parse(self, data: bytes) -> Loaded:
        if self._is_mesh_config:
            config, problems = load_mesh_config(data.decode(errors="replace"), self._name)
            written = None if config is None else WrittenMeshConfig(config, source=Source(self._name, 1))
            return Loaded(mesh_config=written, problems=problems, incomplete=config is None)
        if self._reader is not None:
            return await in_turns(self._reader.read_in_pieces(data))
        return await in_turns(load_in_pieces(data.decode(errors="replace"), self._name, self._namespace))

    def _unread(self, reason: str, message: str) -> Loaded:
        return Loaded.unread(Problem(None, "", reason, message, source=Source(self._name, 1)))
