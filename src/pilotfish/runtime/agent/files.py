"""Certificates and keys in files of a pod: its Envoy is told what they are, and whenever they change.

The files are looked at each second, as Envoy's own user and in Envoy's own file system. So it does not matter how they
are replaced: in place, by another file, or by a link to another directory, as Kubernetes does it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from pilotfish.agent.file_secrets import LARGEST, PATH, FileSecret, build_secret, describe_expired, paths_of
from pilotfish.mesh.certificates import UnusableError
from pilotfish.model.credential import PairFiles, TrustFiles, UnusableFiles, parse_file_secret
from pilotfish.model.wellknown import FILES_SOCKET
from pilotfish.runtime.agent.sockets import open_socket, owned_by
from pilotfish.runtime.agent.spec import AgentError
from pilotfish.runtime.http.message import Answer
from pilotfish.runtime.http.small import Asked, SmallServer, text
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.syscalls import open_in_root
from pilotfish.runtime.thread import in_thread

_log = logging.getLogger(__name__)
_LOOK: Final = 1.0
"""Seconds between looks at the files."""
_HOLD: Final = 30.0
"""Seconds for which an answer without news waits for some. Envoy waits for 60."""
_FORGET: Final = 10.0
"""Seconds after which what Envoy asks for no more is looked at no more. It pauses for two at most."""
_CREDENTIALS: Final = struct.Struct("3i")
"""`struct ucred`: pid, uid, gid (unix(7), SO_PEERCRED)."""


@dataclass(slots=True)
class _Wanted:
    files: PairFiles | TrustFiles
    asking: int = 0
    left: float = 0.0
    """When the last answer was given."""
    contents: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """As they were when they were last judged."""
    secret: FileSecret | None = None
    """The last that could be used."""
    why: str = ""
    """Why they can't be used now."""
    expired: str = ""
    """Which certificate nobody is convinced by any longer."""

    @property
    def lack(self) -> UnusableFiles | None:
        if self.why:
            return UnusableFiles(paths_of(self.files), self.why, self.secret is not None)
        return UnusableFiles(paths_of(self.files), self.expired) if self.expired else None


class FileSecrets:
    """Of one Envoy."""

    def __init__(self, user: tuple[int, int], on_change: Callable[[], None]) -> None:
        """`user`: Envoy's uid and gid. `on_change` is called when `unusable` became another."""
        self._user = user
        self._on_change = on_change
        self._wanted: dict[str, _Wanted] = {}
        self._envoy = 0
        """Its pid."""
        self._server = SmallServer(self._handle)
        self._changed = asyncio.Event()
        self._woken = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    @property
    def unusable(self) -> tuple[UnusableFiles, ...]:
        return tuple(lack for _, each in sorted(self._wanted.items()) if (lack := each.lack) is not None)

    async def start(self, netns: NetNs | None) -> None:
        """AgentError if another agent is there."""
        bound = open_socket(netns, socket.AF_UNIX)
        try:
            bound.bind(FILES_SOCKET.replace("@", "\0", 1))
            bound.listen(128)
        except OSError as error:
            bound.close()
            what = f"the socket {FILES_SOCKET} is taken, and the sidecar needs it: {error.strerror}"
            raise AgentError(what, "end the agent that has it") from error
        await self._server.start(bound)
        self._looking = asyncio.get_running_loop().create_task(self._look_on())

    async def close(self) -> None:
        if self._looking:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await self._server.close()

    async def _handle(self, request: Asked) -> Answer:
        pid, uid = _peer(request.socket)
        if uid != self._user[0]:
            return text("only the pod's Envoy is told of keys\n", status=403)
        if request.path != PATH:
            return text("not found\n", status=404)
        self._envoy = pid
        try:
            asked = json.loads(request.body)
            (name,) = asked["resource_names"]
            files = parse_file_secret(name)
        except (ValueError, KeyError, TypeError):
            files = None
        if files is None:
            return text("a DiscoveryRequest with the name of one secret of files is wanted\n", status=400)
        secret = await self._news(name, files, str(asked.get("version_info", "")))
        if secret is None:
            return Answer(304, b"")
        return Answer(200, secret.body, {"content-type": "application/json"})

    async def _news(self, name: str, files: PairFiles | TrustFiles, known: str) -> FileSecret | None:
        """Something else than Envoy has; None if there is nothing for a while."""
        wanted = self._wanted.get(name)
        if wanted is None:
            wanted = self._wanted[name] = _Wanted(files)
            self._woken.set()
        wanted.asking += 1
        try:
            async with asyncio.timeout(_HOLD):
                while wanted.secret is None or wanted.secret.version == known:
                    await self._changed.wait()
        except TimeoutError:
            return None
        finally:
            wanted.asking -= 1
            wanted.left = asyncio.get_running_loop().time()
        return wanted.secret

    async def _look_on(self) -> None:
        while True:
            if not self._wanted:
                await self._woken.wait()
            self._woken.clear()
            try:
                await self._look()
            except Exception:  # a bug, of which one file must not cost all others their changes
                _log.exception("files of certificates are not looked at")
            try:
                async with asyncio.timeout(_LOOK):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _look(self) -> None:
        before, now = self.unusable, asyncio.get_running_loop().time()
        kept = {name: each for name, each in self._wanted.items() if each.asking or now - each.left < _FORGET}
        self._wanted = kept
        paths = {path for each in kept.values() for path in paths_of(each.files)}
        try:
            found = await in_thread(lambda: _read_all(self._envoy, sorted(paths), self._user))
        except OSError:
            return  # Envoy has ended; the next one asks again.
        news = [_judge(each, found) for each in kept.values()]
        for each in kept.values():
            is_late = each.secret is not None and each.secret.expires_at <= time.time()
            each.expired = describe_expired(each.files, each.secret.expires_at) if each.secret and is_late else ""
        if any(news):
            self._changed.set()
            self._changed = asyncio.Event()
        if self.unusable != before:
            self._on_change()


def _judge(wanted: _Wanted, found: Mapping[str, bytes | OSError]) -> bool:
    """Whether there is something new to tell."""
    paths = paths_of(wanted.files)
    lacking = {path: error for path in paths if isinstance(error := found.get(path), OSError)}
    contents = {path: content for path in paths if isinstance(content := found.get(path), bytes)}
    if lacking:
        wanted.contents = {}
        wanted.why = "; ".join(f"{path} can't be read: {error.strerror}" for path, error in lacking.items())
        return False
    if contents == wanted.contents or len(contents) < len(paths):
        return False
    wanted.contents, before = contents, wanted.secret
    try:
        wanted.secret, wanted.why = build_secret(wanted.files, contents), ""
    except UnusableError as error:
        wanted.why = str(error)
    return wanted.secret != before


def _read_all(pid: int, paths: Iterable[str], user: tuple[int, int]) -> dict[str, bytes | OSError]:
    """As the process sees them that runs as this user. OSError if it has ended."""
    root = _open_root(pid)
    try:
        with owned_by(*user):
            return {path: _read(root, path) for path in paths}
    finally:
        os.close(root)


def _open_root(pid: int) -> int:
    flags = os.O_PATH | os.O_CLOEXEC
    try:
        return os.open(f"/proc/{pid}/root", flags)
    except PermissionError:
        return os.open("/", flags)  # who is not root has started Envoy where it is itself


def _read(root: int, path: str) -> bytes | OSError:
    try:
        with os.fdopen(open_in_root(root, path), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return OSError(0, "it is no file")
            content = file.read(LARGEST + 1)
    except OSError as error:
        return error
    except ValueError:
        return OSError(0, "it is no path")
    return content if len(content) <= LARGEST else OSError(0, f"it has more than {LARGEST} bytes")


def _peer(peer: socket.socket) -> tuple[int, int]:
    """(pid, uid) of who asks."""
    pid, uid, _ = _CREDENTIALS.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid
