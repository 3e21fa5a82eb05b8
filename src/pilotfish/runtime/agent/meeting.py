"""The directory in which Envoys that take over from one another meet, and what is to be done there when one was killed.

They have sockets there, and a piece of memory. Envoy counts on the one before to live until it is told to end: the next
one's own process is aborted where it has no answer. And it counts on a next one to come through its start.

    killed: the one before, while it ends its connections ─▶ somebody answers for it, until it would be told to end
            a next one, while it starts                   ─▶ its mark is taken away, or no other could ever start

Source: https://github.com/envoyproxy/envoy/blob/v1.40.0/source/server/ hot_restart.proto, hot_restarting_base.cc,
hot_restarting_child.cc, hot_restart_impl.h
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from pilotfish.runtime.linux.unix import bind

SHARED: Final = "/dev/shm"
"""Where the C library has what processes share (shm_open(3)), and Envoy sees the directory."""
SOCKETS: Final = f"{SHARED}/envoy"
"""How their names begin."""
_MEMORY: Final = "envoy_shared_memory_0"
_FLAGS: Final = 8
"""Bytes at the end of the memory: `SharedMemory.flags_`."""
_NAMES: Final = 3
"""Sockets are numbered anew after so many."""
_LENGTH: Final = 8
"""Bytes before each message."""
_LARGEST: Final = 4096
_REPLIES: Final = {
    0x0A: b"\x12\x0d\x0a\x0b\x08" + b"\xff" * 9 + b"\x01",  # pass_listen_socket: {fd: -1}, none has this address
    0x1A: b"\x12\x02\x1a\x00",  # stats: none
}
"""By the tag of `HotRestartMessage.Request`. Others want no answer."""
_TERMINATE: Final = 0x2A


class Meeting:
    def __init__(self, path: Path, user: tuple[int, int]) -> None:
        """Makes the directory. `user`: Envoy's uid and gid, whose alone it is."""
        self.path = path
        self._user = user
        self._standing_in: dict[int, _StandIn] = {}
        path.mkdir(parents=True, mode=0o700)
        os.chown(path, *user)

    def left(self, number: int) -> None:
        """The Envoy of this number has ended, and others of its line live."""
        with suppress(FileNotFoundError), (self.path / _MEMORY).open("r+b") as memory:
            memory.seek(-_FLAGS, os.SEEK_END)
            memory.write(bytes(_FLAGS))
        self._standing_in[number] = _StandIn(self.path, f"envoy_parent_{number % _NAMES}", self._user)

    def begins(self, number: int) -> None:
        """One of this number starts: it takes the place of whoever stands in."""
        if found := self._standing_in.pop(number, None):
            found.close()

    def close(self) -> None:
        for each in self._standing_in.values():
            each.close()
        shutil.rmtree(self.path, ignore_errors=True)


class _StandIn:
    """Answers in the place of an Envoy that has ended, until it is told to end."""

    def __init__(self, directory: Path, name: str, user: tuple[int, int]) -> None:
        self._directory = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._socket = bind(directory / name, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        os.chown(directory / name, *user)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket, self._answer)

    def close(self) -> None:
        if self._directory >= 0:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            os.close(self._directory)
            self._directory = -1

    def _answer(self) -> None:
        message, sender = self._socket.recvfrom(_LARGEST)
        tag = message[_LENGTH + 2] if len(message) > _LENGTH + 2 else 0
        if tag == _TERMINATE:
            self.close()
        elif reply := _REPLIES.get(tag):
            # Its name as Envoy sees it; a path has 107 bytes at the most (unix(7)).
            place = f"/proc/self/fd/{self._directory}/{Path(sender).name}"
            with suppress(OSError):  # it has ended meanwhile
                self._socket.sendto(len(reply).to_bytes(_LENGTH, "big") + reply, place)
