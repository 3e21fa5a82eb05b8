"""Asking a running mesh. Cheap to import: the command line pays for it each time.

    client = Client(find_meshes(state_root(os.environ))[0].directory)
    client.status().pods

Raises `Unreachable` where no process answers behind `control.sock`, `Refused` where it answers with an error.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar
from urllib.parse import urlencode

import msgspec

from pilotfish.model import Kind, ObjectRef
from pilotfish.model.frontend import Frontend
from pilotfish.model.names import NameTable
from pilotfish.runtime.control.views import ChangesView, MeshView, OwnerView, PublishView, RolloutView, StatusView
from pilotfish.runtime.http import blocking
from pilotfish.runtime.http.message import Answer, AnswerError, Request

if TYPE_CHECKING:
    from pilotfish.capture import RuleSet

T = TypeVar("T")

_RESTART = 90.0
"""Seconds: one that does not get ready is given up after a minute."""
Unstructured = dict[str, object]
"""An object as Kubernetes writes it: apiVersion, kind, metadata, spec, status."""


class Unreachable(Exception):
    """Nobody answers behind the mesh's control socket."""


class Overdue(Unreachable):
    """It hears, or seems to, and has not answered after `timeout` seconds."""

    def __init__(self, directory: Path, timeout: float) -> None:
        super().__init__(f"mesh in {directory} has not answered for {timeout:g} s")
        self.timeout = timeout


class Refused(Exception):
    """The mesh answered with an error; the text is for the user."""


class Client:
    """One mesh, by its directory. Each call is a request of its own; nothing is held open between them."""

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)

    def status(self, timeout: float = 10) -> StatusView:
        return self._call("GET", "/status", StatusView, timeout=timeout)

    def objects(self, kind: Kind | None = None, namespace: str = "", name: str = "") -> list[Unstructured]:
        """Stored objects with their status, ReplicaSets' pods included; None, or "", selects all."""
        named = {"kind": kind.name, "group": kind.group} if kind else {}
        return self._call("GET", "/objects", list[Unstructured], {**named, "namespace": namespace, "name": name})

    def names(self, namespace: str, name: str) -> NameTable:
        """What answers the DNS questions of a pod."""
        return self._call("GET", "/names", NameTable, {"namespace": namespace, "name": name})

    def rules(self, namespace: str, name: str, family: Literal[4, 6]) -> RuleSet:
        """The packet filter's rules in a pod's namespace, as the kernel holds them, with their counters."""
        from pilotfish.capture import RuleSet

        return self._call("GET", "/rules", RuleSet, {"namespace": namespace, "name": name, "family": str(family)})

    def frontends(self) -> list[Frontend]:
        """Services as the node's kernel serves them."""
        return self._call("GET", "/frontends", list[Frontend])

    def owners(self, trace: bytes) -> tuple[OwnerView, ...]:
        """Whose the steps of a request's way are (`explain.wire`), and where that was written: `file:line` of a field,
        or of the deepest part of its path that was. Raises Refused if discovery does not answer."""
        return self._call("POST", "/owners", tuple[OwnerView, ...], body=trace)

    def apply(self, text: str, file: str = "-", namespace: str = "default") -> ChangesView:
        """Create or configure the objects that YAML or JSON `text` holds; `file` is named in Problems."""
        return self._call("POST", "/apply", ChangesView, body={"text": text, "file": file, "namespace": namespace})

    def delete(self, text: str, file: str = "-", namespace: str = "default") -> ChangesView:
        """Delete the objects that `text` names."""
        return self._call("POST", "/delete", ChangesView, body={"text": text, "file": file, "namespace": namespace})

    def delete_object(self, ref: ObjectRef) -> ChangesView:
        return self._call("POST", "/delete", ChangesView, body=_named(ref))

    def patch(self, ref: ObjectRef, change: object, how: str = "merge") -> ChangesView:
        """Change a stored object: `how` is merge, strategic or json. Raises Refused if it is not there, or the patch
        does not fit; with an error among the Problems the object stays as it was."""
        return self._call("POST", "/patch", ChangesView, body={**_named(ref), "change": change, "how": how})

    def scale(self, ref: ObjectRef, replicas: int, current: int | None = None) -> ChangesView:
        """Set the replicas of what has them (`kinds.SCALED`). With `current`, only if it has that many now."""
        body = {**_named(ref), "replicas": replicas, "current": current}
        return self._call("POST", "/scale", ChangesView, body=body)

    def restart(self, ref: ObjectRef) -> ChangesView:
        """`rollout restart` of what is rolled out (`kinds.ROLLED`)."""
        return self._call("POST", "/rollout/restart", ChangesView, body=_named(ref))

    def restart_proxy(self, namespace: str, name: str) -> None:
        """Let another Envoy take over from a pod's, or a machine's. Returns when it serves. Raises Refused where there
        is no such proxy, or none took over."""
        body = {"namespace": namespace, "name": name}
        self._call("POST", "/proxy/restart", dict[str, str], body=body, timeout=_RESTART)

    def rollout(self, ref: ObjectRef, said: str = "", wait: float = 0) -> RolloutView:
        """How far a rollout is. Answers at once unless the message still is `said`, then when it differs, or after
        `wait` seconds. Raises Refused if there is no such object."""
        query = {**_named(ref), "said": said, "wait": str(wait)}
        return self._call("GET", "/rollout/status", RolloutView, query, timeout=wait + 10)

    def events(self, since: int = -1, wait: float = 0, timeout: float = 10) -> int:
        """The counter of all changes (pods, proxies, objects, problems). Answers when it is past `since`, or after
        `wait` seconds, so that nobody needs to poll."""
        query = {"since": str(since), "wait": str(wait)}
        return self._call("GET", "/events", int, query, timeout=wait + timeout)

    def synced(self, wait: float = 0) -> bool:
        """Whether every proxy has, and has acknowledged, what follows from the objects as they are; false after `wait`
        seconds."""
        return self._call("GET", "/synced", bool, {"wait": str(wait)}, timeout=wait + 10)

    def publish(self, text: str, namespace: str = "default") -> PublishView:
        """Open a port of the host, as `--publish` of `up` does; see `node.publish` for the text's form."""
        return self._call("POST", "/publish", PublishView, body={"text": text, "namespace": namespace})

    def endpoints(self, text: str, namespace: str = "default") -> tuple[tuple[str, int], ...]:
        """Where a connection to what would be published so goes: the ready pods of a Service, or the pod."""
        return self._call("GET", "/endpoints", tuple[tuple[str, int], ...], {"text": text, "namespace": namespace})

    def unpublish(self, address: str, protocol: str = "TCP") -> PublishView:
        """Close one that was opened by hand, by its `127.0.0.1:8080`. Raises Refused if there is none."""
        return self._call("POST", "/unpublish", PublishView, body={"address": address, "protocol": protocol})

    def down(self, timeout: float) -> None:
        """Take the mesh down; returns when all of it is gone."""
        self._call("POST", "/down", dict[str, str], body={}, timeout=timeout)

    def _call(
        self,
        method: str,
        path: str,
        shape: type[T],
        query: Mapping[str, str] | None = None,
        body: object = None,
        timeout: float = 30,
    ) -> T:
        target = path + ("?" + urlencode({k: v for k, v in query.items() if v}) if query else "")
        content = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        answer = self._ask(Request(method, target, content), timeout)
        if answer.status >= 400:
            raise Refused(answer.body.decode(errors="replace"))
        try:
            return answer.read(shape)
        except AnswerError as error:
            raise Unreachable(f"mesh in {self.directory} gives an answer that can't be read: {error}") from error

    def _ask(self, request: Request, timeout: float) -> Answer:
        """A socket's path holds 107 bytes (unix(7)); a longer one is reached through its open directory."""
        try:
            directory = os.open(self.directory, os.O_PATH | os.O_DIRECTORY)
            try:
                path = f"/proc/self/fd/{directory}/control.sock"
                return blocking.ask(socket.socket(socket.AF_UNIX), path, request, timeout)
            finally:
                os.close(directory)
        except TimeoutError:
            raise Overdue(self.directory, timeout) from None
        except OSError as error:
            raise Unreachable(f"mesh in {self.directory} does not answer: {error}") from error


def _named(ref: ObjectRef) -> dict[str, str]:
    return {"kind": ref.kind.name, "group": ref.kind.group, "namespace": ref.namespace, "name": ref.name}


def state_root(environ: Mapping[str, str]) -> Path:
    """Where every mesh of this machine has its directory."""
    return Path(environ.get("PILOTFISH_STATE") or "/run/pilotfish")


def find_meshes(root: Path) -> tuple[MeshView, ...]:
    """All meshes that left a `mesh.json` under `root`, dead ones too (see `is_alive`), by name."""
    found = []
    for path in sorted(root.glob("*/mesh.json")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=MeshView))
        except (OSError, msgspec.DecodeError):
            continue  # being removed, or written by another version: `up` and `down` sweep it by its name
    return tuple(found)


def is_alive(mesh: MeshView) -> bool:
    """Whether the process that made the mesh still runs: its pid, and the time that process started."""
    return process_started(mesh.pid) == mesh.pid_started


def process_started(pid: int) -> int | None:
    """Clock ticks from boot to the start of process `pid`; None if it is gone. Source: proc_pid_stat(5), field 22."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])
