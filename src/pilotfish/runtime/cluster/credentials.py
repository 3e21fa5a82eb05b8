"""Proof of who asks, as it is now: tokens and certificates that change while the process runs."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pilotfish.cluster.exec_credential import Credential, ExecCredentialError, exec_info, read_credential
from pilotfish.cluster.kubeconfig import Access, Material, Plugin
from pilotfish.model.private import reveal
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.thread import in_thread

_TOKEN_LASTS: Final = 60.0
"""Seconds after which a token's file is read again; the kubelet renews it long before it expires."""
_PLUGIN_TIMEOUT: Final = 60.0
"""Seconds that a program gets, and one that asks at the terminal: somebody may have to log in."""
_ASKING_TIMEOUT: Final = 600.0
_MOST_PRINTED: Final = 2**20
_MARGIN: Final = timedelta(seconds=10)
"""Before it expires, a credential is made anew."""


class Credentials:
    """Of one access. Raises MachineError where there are none, as long as that is so."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._lock = asyncio.Lock()
        self._tls: ssl.SSLContext | None = None
        self._token = ""
        self._read_at = float("-inf")
        self._made: Credential | None = None

    async def headers(self) -> list[tuple[str, str]]:
        """Of a request."""
        user = self._access.user
        found = list(user.headers)
        if user.token_file is not None or user.token:
            found.append(("Authorization", f"Bearer {await self._bearer()}"))
        elif user.username:
            pair = f"{user.username}:{reveal(user.password)}".encode()
            found.append(("Authorization", f"Basic {base64.b64encode(pair).decode()}"))
        elif (made := await self._credential()) is not None and made.token:
            found.append(("Authorization", f"Bearer {reveal(made.token)}"))
        return found

    async def tls(self) -> ssl.SSLContext | None:
        """None for a server without TLS. The same one, until what it is made of changes."""
        if not self._access.server.url.startswith("https:"):
            return None
        made = await self._credential()
        async with self._lock:
            if self._tls is None:
                self._tls = await in_thread(lambda: _context(self._access, made))
            return self._tls

    def doubt(self) -> None:
        """The server refused them, or it could not prove itself: next time all is read and made anew."""
        self._tls, self._made, self._read_at = None, None, float("-inf")

    async def _bearer(self) -> str:
        user, loop = self._access.user, asyncio.get_running_loop()
        path = user.token_file
        if path is None:
            return reveal(user.token)
        if loop.time() >= self._read_at + _TOKEN_LASTS:
            try:
                self._token = (await in_thread(path.read_text)).strip()
                self._read_at = loop.time()
            except OSError as error:
                if not self._token:
                    raise MachineError(f"{path} can't be read: {error.strerror}", "it should hold a token") from error
        return self._token

    async def _credential(self) -> Credential | None:
        plugin = self._access.user.plugin
        if plugin is None:
            return None
        async with self._lock:
            made = self._made
            if made is None or (made.expires is not None and datetime.now(UTC) > made.expires - _MARGIN):
                self._made = await _run(plugin, self._access)
                if made is None or (made.certificate, made.key) != (self._made.certificate, self._made.key):
                    self._tls = None
            return self._made


async def _run(plugin: Plugin, access: Access) -> Credential:
    asks = plugin.interactive != "Never" and sys.stdin is not None and sys.stdin.isatty()
    if plugin.interactive == "Always" and not asks:
        raise MachineError(f"{plugin.command} makes credentials at a terminal, and there is none", "run it in one")
    authority = await in_thread(lambda: _pem(access.server.authority)) if plugin.wants_cluster else None
    environment = {
        **os.environ,
        **plugin.env,
        "KUBERNETES_EXEC_INFO": exec_info(plugin, access.server, authority, asks),
    }
    limit = _ASKING_TIMEOUT if asks else _PLUGIN_TIMEOUT
    try:
        async with asyncio.timeout(limit):
            printed = await _printed(plugin, environment, asks)
        return read_credential(printed, plugin)
    except FileNotFoundError as error:
        remedy = " ".join(plugin.hint.split()) or "install it, or mend exec.command of the kubeconfig"
        raise MachineError(f"{plugin.command}, which makes credentials, is not there", remedy) from error
    except TimeoutError as error:
        raise _failed(plugin, f"it has not ended after {limit:.0f} s") from error
    except (ExecCredentialError, OSError) as error:
        raise _failed(plugin, str(error)) from error


async def _printed(plugin: Plugin, environment: dict[str, str], asks: bool) -> bytes:
    """Raises OSError, ExecCredentialError. Whoever is cancelled leaves no process."""
    transport, output = await asyncio.get_running_loop().subprocess_exec(
        _Output,
        plugin.command,
        *plugin.args,
        env=environment,
        stdin=None if asks else subprocess.DEVNULL,
        # What it says to whoever sits at the terminal is theirs.
        stderr=None if asks else subprocess.PIPE,
    )
    try:
        await output.done
    finally:
        transport.close()
        await output.ended.wait()
    if code := transport.get_returncode():
        why = " ".join(output.of[2].decode(errors="replace").split())[-500:]
        raise ExecCredentialError(f"it ended with {code}{': ' if why else ''}{why}")
    return bytes(output.of[1])


class _Output(asyncio.SubprocessProtocol):
    """What a process prints, up to a bound."""

    def __init__(self) -> None:
        self.of = {1: bytearray(), 2: bytearray()}
        """By file descriptor."""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """It has ended, and all of its output is here. ExecCredentialError where that is too much."""
        self.ended = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.of[fd] += data
        if len(self.of[fd]) > _MOST_PRINTED and not self.done.done():
            self.done.set_exception(ExecCredentialError(f"it prints more than {_MOST_PRINTED} bytes"))

    def process_exited(self) -> None:
        self.ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)


def _failed(plugin: Plugin, why: str) -> MachineError:
    return MachineError(f"{plugin.command} makes no credentials: {why}", "run it by hand to see what it lacks")


@dataclass(frozen=True, slots=True)
class _Pair:
    certificate: Material
    key: Material


def _context(access: Access, made: Credential | None) -> ssl.SSLContext:
    server, user = access.server, access.user
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not server.verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif server.authority is None:
        context.load_default_certs()
    else:
        _load_authority(context, server.authority)
    pair = None
    if user.certificate is not None and user.key is not None:
        pair = _Pair(user.certificate, user.key)
    elif made is not None and made.certificate is not None and made.key is not None:
        pair = _Pair(made.certificate, made.key)
    if pair is not None:
        _load_pair(context, pair, access.origin)
    return context


def _load_authority(context: ssl.SSLContext, authority: Material) -> None:
    where = authority if isinstance(authority, Path) else "certificate-authority-data"
    try:
        context.load_verify_locations(cadata=(_pem(authority) or b"").decode())
    except (ssl.SSLError, ValueError) as error:
        raise MachineError(f"{where} holds no certificates: {error}", "put the cluster's CA there, PEM") from error


def _load_pair(context: ssl.SSLContext, pair: _Pair, origin: str) -> None:
    # OpenSSL reads files; these may be in memory alone.
    descriptor = os.memfd_create("client-certificate")
    try:
        both = b"\n".join((_pem(pair.certificate) or b"", reveal(_pem(pair.key) or b"")))
        with open(descriptor, "wb", closefd=False) as file:
            file.write(both)
        # A password would be asked for at the terminal.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password=lambda: b"")
    except (ssl.SSLError, ValueError) as error:
        raise MachineError(f"the client certificate of {origin} can't be used: {error}", "renew it") from error
    finally:
        os.close(descriptor)


def _pem(material: Material | None) -> bytes | None:
    """Raises MachineError."""
    if not isinstance(material, Path):
        return material
    try:
        return material.read_bytes()
    except OSError as error:
        raise MachineError(
            f"{material} can't be read: {error.strerror}", "mend its permissions, or name another"
        ) from error
