"""Start a process as a container: in a namespace, as a user, with its volumes; and know when it ends."""

from __future__ import annotations

import asyncio
import marshal
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from pilotfish.model import capabilities
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux import syscalls
from pilotfish.runtime.linux.launch import BOOTSTRAP
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.userns import UserNs

if TYPE_CHECKING:
    from pilotfish.runtime.linux.spare import SpareLauncher

PIPE = subprocess.PIPE
STDOUT = subprocess.STDOUT
Stdio = int | str | None
"""A file descriptor, PIPE, STDOUT (for stderr: the same as stdout), a path to append to, or None: /dev/null."""

_SOURCE = str(Path(__file__).parents[3])


@dataclass(frozen=True, slots=True)
class BindMount:
    """A file or directory of the machine, shown at `target`. Neither `target` nor its parents need exist."""

    source: str
    target: str
    read_only: bool = False
    root: str = ""
    """A directory that `source` does not lead out of, whatever links are on its way."""


@dataclass(frozen=True, slots=True)
class ImageRoot:
    """An image's files, which the process has for its `/`, and may change: what it changes is its own."""

    layers: tuple[str, ...]
    """Directories, the uppermost first."""
    writable: str
    """A directory for what is changed, with the empty ones `upper` and `work`."""
    volumes: tuple[str, ...] = ()
    """Directories that can be written though the root is read-only."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user as the image's /etc/passwd and /etc/group have it."""

    user: str
    """USER[:GROUP], each a name or a number; "" is root."""
    gid: int | None = None
    """In the place of the group that those files name."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """All that a process starts with. Nothing is inherited: `env` is complete, other descriptors are closed."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: str = "/"
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    account: Account | None = None
    """In the place of `uid` and `gid`; its groups are added, and its home is HOME where `env` has none."""
    root: ImageRoot | None = None
    """None: the machine's files."""
    cgroups: tuple[str, ...] = ()
    """Directories of control groups that it and its children are in."""
    netns: NetNs | None = None
    userns: UserNs | None = None
    """Its rights are good there alone, in the network namespaces that this one owns; files know no difference."""
    mounts: tuple[BindMount, ...] = ()
    keep_capabilities: frozenset[str] | None = None
    """Of a proxy: it has these whoever it runs as, and no way to gain others. None: as the kernel does it, root has all
    that `bounding` leaves, others none."""
    bounding: frozenset[str] | None = None
    """The capabilities that it, and all that it executes, may have at the most. None: the machine's."""
    no_new_privileges: bool = False
    """A program with the set-user-ID bit, or with capabilities of its own, gains none of them (PR_SET_NO_NEW_PRIVS)."""
    hidden: tuple[str, ...] = ()
    """Directories of the machine that it sees as empty."""
    read_only_root: bool = False
    """All files but `mounts` that may be written, /dev and /proc are read-only."""
    executable: str | None = None
    """A binary to run for argv[0], opened as root: for a user that can't reach its path. Not for scripts."""
    hostname: str | None = None
    pidns: int | None = field(default=None, compare=False)
    """A descriptor of a PID namespace: it sees the processes there, and no others."""
    beside: int | None = field(default=None, compare=False)
    """A process whose files and host name it has, in the place of `root` and `mounts`."""
    stdin: Stdio = field(default=None, compare=False)
    stdout: Stdio = field(default=None, compare=False)
    stderr: Stdio = field(default=None, compare=False)

    def save(self, path: Path) -> None:
        """As JSON, without what is open in this process, for `exec_in` in another one."""
        kept = replace(self, pidns=None, beside=None, stdin=None, stdout=None, stderr=None)
        content = msgspec.json.encode(kept, enc_hook=str)
        path.write_bytes(msgspec.json.format(content))

    @classmethod
    def load(cls, path: Path) -> ProcessSpec:
        """MachineError if the file is missing or is not one of ours."""
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls, dec_hook=lambda kind, text: kind(text))
        except (OSError, msgspec.DecodeError) as error:
            raise MachineError(f"launch specification {path} can't be read: {error}", "does the pod run?") from error


class LaunchError(MachineError):
    """The program did not start. `step` is one of namespace, limit, join, mount, hostname, account, owner, user, chdir,
    exec, interpreter."""

    def __init__(self, spec: ProcessSpec, step: str, errno: int, path: str) -> None:
        super().__init__(_explain(spec, step, os.strerror(errno), path))
        self.step, self.errno, self.path = step, errno, path


class Process:
    """A running child. When it ends, the rest of its process group is killed with it, as with a container's.

    `stdout` and `stderr` are streams where the specification said PIPE. A stream closes at its end, when the last who
    writes to it is gone; whoever does not read that far calls `close`.
    """

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.pid = child.pid
        self.stdout: asyncio.StreamReader | None = None
        self.stderr: asyncio.StreamReader | None = None
        self._child = child
        self._pipes: list[Any] = [pipe for pipe in (child.stdout, child.stderr) if pipe]
        """Files, then transports that own them."""
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        # A pidfd, not asyncio's child watcher, which keeps a thread for every child.
        self._pidfd = os.pidfd_open(child.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    @property
    def returncode(self) -> int | None:
        """None while it runs; negative for a signal."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        """The exit code; negative for a signal. Any number of tasks may wait."""
        return await asyncio.shield(self._ended)

    def signal(self, number: int) -> None:
        """Nothing happens if it has ended."""
        if not self._ended.done():
            os.kill(self.pid, number)

    def signal_group(self, number: int) -> None:
        """To it and all that it started, but for those who made a session of their own."""
        if not self._ended.done():
            os.killpg(self.pid, number)

    def close(self) -> None:
        """Lets go of the streams, and of what they still hold."""
        for pipe in self._pipes:
            pipe.close()

    async def open_streams(self) -> None:
        """Once, by `start`."""
        self.stdout, self.stderr = await self._open(self._child.stdout), await self._open(self._child.stderr)

    async def _open(self, pipe: Any) -> asyncio.StreamReader | None:
        if pipe is None:
            return None
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await self._loop.connect_read_pipe(lambda: protocol, pipe)
        self._pipes[self._pipes.index(pipe)] = transport
        return reader

    def _reap(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        # Before the wait, while the number can't belong to anybody else.
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._ended.set_result(self._child.wait())


def may_change_user() -> bool:
    """Whether what this process starts can be another user's."""
    needed = capabilities.mask(("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"))
    return os.geteuid() == 0 and syscalls.permitted() & needed == needed


async def start(spec: ProcessSpec, spare: SpareLauncher | None = None) -> Process:
    """Returns when the program itself runs. LaunchError if it can't; MachineError if its namespace is gone."""
    with ExitStack() as stack:
        report, write_end = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, report)
        with ExitStack() as until_forked:
            until_forked.callback(os.close, write_end)
            child = _hand_over(spec, write_end, spare) or _fork(spec, write_end, until_forked)
        process = Process(child)
        try:
            await process.open_streams()
            failure = await _read_report(report)
        except BaseException:
            process.signal_group(signal.SIGKILL)
            process.close()
            raise
    if failure:
        process.close()
        await process.wait()
        step, errno, path = failure.decode(errors="surrogateescape").split("\0")
        raise LaunchError(spec, step, int(errno), path)
    return process


def exec_in(spec: ProcessSpec, pid: int | None, argv: tuple[str, ...]) -> NoReturn:
    """Replaces this process by one that stands for `argv`, run in the surroundings of `spec`: terminal and signals are
    its own, the exit code too, 128 + N where signal N ended it.

    `pid`: the container's process, whose files and processes it then sees; None where none runs. Exits 127 for a
    missing program. MachineError if the namespace is gone.
    """
    env = dict(spec.env)
    if os.isatty(0) and "TERM" in os.environ:
        env.setdefault("TERM", os.environ["TERM"])
    with _attended_order(replace(spec, env=env), pid, argv) as passed:
        for descriptor in passed:
            os.set_inheritable(descriptor, True)
        with spec.netns.entered() if spec.netns else nullcontext():
            sys.stdout.flush()
            os.execv(sys.executable, launcher(BOOTSTRAP, passed[0]))


def spawn_in(
    spec: ProcessSpec, pid: int | None, argv: tuple[str, ...], stdin: int | None = None, stdout: int | None = None
) -> subprocess.Popen[bytes]:
    """As `exec_in`, as a child of this process; streams as `subprocess` has them."""
    with (
        _attended_order(spec, pid, argv) as passed,
        spec.netns.entered() if spec.netns else nullcontext(),
    ):
        return subprocess.Popen(launcher(BOOTSTRAP, passed[0]), stdin=stdin, stdout=stdout, pass_fds=passed)


@contextmanager
def _attended_order(spec: ProcessSpec, pid: int | None, argv: tuple[str, ...]) -> Iterator[tuple[int, ...]]:
    """The descriptor of an order, and those that it names."""
    with ExitStack() as stack:
        userns = _open_userns(spec, stack)
        attended = replace(spec, argv=argv, executable=None)
        order = _write_order({**_build_order(attended, join=pid, report=None, attended=True), "userns": userns})
        stack.callback(os.close, order)
        yield (order,) if userns is None else (order, userns)


def _open_userns(spec: ProcessSpec, stack: ExitStack) -> int | None:
    return stack.enter_context(spec.userns.opened()) if spec.userns else None


def _fork(spec: ProcessSpec, report: int, stack: ExitStack) -> subprocess.Popen[bytes]:
    """The launcher, already in its namespaces: a child has those of the thread that forks it."""
    userns = _open_userns(spec, stack)
    order = _write_order({**_build_order(spec, join=spec.beside, report=report), "userns": userns})
    stack.callback(os.close, order)
    stdin, stdout, stderr = (_open_stdio(stream, spec, stack) for stream in (spec.stdin, spec.stdout, spec.stderr))
    with (
        spec.netns.entered() if spec.netns else nullcontext(),
        nullcontext() if spec.pidns is None else _forking_in(spec.pidns),
    ):
        return subprocess.Popen(
            launcher(BOOTSTRAP, order),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=tuple(each for each in (order, report, userns) if each is not None),
            start_new_session=True,
            env={},
            cwd="/",
        )


@contextmanager
def _forking_in(pidns: int) -> Iterator[None]:
    """Children that the calling thread forks are in the PID namespace. It stays, and can make no thread meanwhile."""
    home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.setns(pidns, syscalls.CLONE_NEWPID)
        try:
            yield
        finally:
            syscalls.setns(home, syscalls.CLONE_NEWPID)
    finally:
        os.close(home)


def _hand_over(spec: ProcessSpec, report: int, spare: SpareLauncher | None) -> subprocess.Popen[bytes] | None:
    """To a launcher that waits, if there is one and neither pipes nor a PID namespace are asked of it; else None."""
    if spare is None or spec.pidns is not None or PIPE in (spec.stdin, spec.stdout, spec.stderr):
        return None
    with ExitStack() as stack:
        streams = [_open_stdio(stream, spec, stack) for stream in (spec.stdin, spec.stdout, spec.stderr)]
        if subprocess.DEVNULL in streams:
            nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            stack.callback(os.close, nowhere)
            streams = [nowhere if stream == subprocess.DEVNULL else stream for stream in streams]
        descriptors = [*streams[:2], streams[1] if streams[2] == STDOUT else streams[2], report]
        namespaces = {"netns": spec.netns, "userns": spec.userns}
        opened = {name: stack.enter_context(each.opened()) for name, each in namespaces.items() if each}
        order = {**_build_order(spec, join=None, report=None), "namespaces": list(opened)}
        return spare.give(order, [*descriptors, *opened.values()])


def launcher(bootstrap: str, descriptor: int) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", bootstrap, _SOURCE, str(descriptor)]


def _build_order(spec: ProcessSpec, join: int | None, report: int | None, attended: bool = False) -> dict[str, Any]:
    keep, bounding = spec.keep_capabilities, spec.bounding
    return {
        "argv": list(spec.argv),
        "env": dict(spec.env),
        "cwd": spec.cwd,
        "uid": spec.uid,
        "gid": spec.gid,
        "groups": list(spec.groups),
        "account": None if spec.account is None else (spec.account.user, spec.account.gid),
        "root": None if spec.root is None else (list(spec.root.layers), spec.root.writable, list(spec.root.volumes)),
        "cgroups": list(spec.cgroups),
        "mounts": [(mount.source, mount.target, mount.read_only, mount.root) for mount in spec.mounts],
        "capabilities": None if keep is None else capabilities.mask(keep),
        "bounding": None if bounding is None else capabilities.mask(bounding),
        "no_new_privileges": spec.no_new_privileges,
        "hidden": list(spec.hidden),
        "read_only_root": spec.read_only_root,
        "processes": spec.pidns is not None,
        "executable": spec.executable,
        "hostname": spec.hostname,
        "join": join,
        "report": report,
        "attended": attended,
    }


def _write_order(order: dict[str, Any]) -> int:
    """A memory file with what the launcher is to do."""
    descriptor = os.memfd_create("launch")
    os.write(descriptor, marshal.dumps(order))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _open_stdio(stream: Stdio, spec: ProcessSpec, stack: ExitStack) -> int:
    if isinstance(stream, int):
        return stream
    if stream is None:
        return subprocess.DEVNULL
    descriptor = os.open(stream, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    stack.callback(os.close, descriptor)
    # Its user may then open it as /dev/stdout.
    os.fchown(descriptor, spec.uid, spec.gid)
    return descriptor


async def _read_report(descriptor: int) -> bytes:
    """What the launcher reports: nothing, as the descriptor closes when the program runs; or why it does not."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)
    return os.read(descriptor, 65536)


def _what_is_mounted(spec: ProcessSpec, path: str) -> str:
    of_volumes = {place for mount in spec.mounts for place in (mount.source, mount.target)}
    return "the image's part" if spec.root and path not in of_volumes else "volume"


def _explain(spec: ProcessSpec, step: str, error: str, path: str) -> str:
    """What a user can do something about, in the manifest's words."""
    return {
        "exec": f"command {path} can't be run in workingDir {spec.cwd}: {error}",
        "interpreter": f"command {path} can't be run: the interpreter that its first line names is missing",
        "chdir": f"workingDir {path} can't be entered by user {spec.uid}: {error}",
        "mount": f"{_what_is_mounted(spec, path)} at {path} can't be mounted: {error}",
        "account": f"user {path} can't be found in the image's /etc/passwd or /etc/group: {error}",
        "join": f"the container's files can't be seen, as its process {path} has ended: {error}",
        "limit": f"control group {path} can't be entered: {error}",
        "owner": f"user namespace of {spec.userns and spec.userns.owned.name} can't be entered: {error}",
        "user": f"user {path}, group {spec.gid} can't be taken: {error}",
        "hostname": f"hostname {path} can't be set: {error}",
        "namespace": f"network namespace {spec.netns and spec.netns.name} can't be entered: {error}",
    }[step]
