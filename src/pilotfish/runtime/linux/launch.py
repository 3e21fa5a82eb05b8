"""Between fork and exec: what a process needs done before its own program runs.

    python -I -S -c BOOTSTRAP SRC FD ─▶ mounts, hostname, user namespace, user, capabilities ─▶ execve
    python -I -S -c BOOTSTRAP_SPARE SRC FD ─▶ wait for an order, take its descriptors, enter its network ─▶ the same

A program of its own, not code in the forked child of a process with threads (`preexec_fn` may deadlock there). It
imports little and is compiled already, as every container waits for it. No PR_SET_PDEATHSIG: it is bound to the thread
that forked and forgotten at a change of user; what a dead mesh leaves is found by its namespaces.
"""

# Importing pathlib, typing or signal would cost every container some milliseconds.
# ruff: noqa: PTH110, PTH115, PTH116

from __future__ import annotations

import errno
import marshal
import os
from _signal import SIG_DFL, SIGKILL, SIGPIPE, SIGXFSZ, signal  # type: ignore[import-not-found]

from pilotfish.runtime.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn, TypeVar

    T = TypeVar("T")

_BOOTSTRAP = (
    "import sys; sys.path[:0] = sys.argv[1:2]; from pilotfish.runtime.linux.launch import {0}; {0}(sys.argv[2])"
)
BOOTSTRAP = _BOOTSTRAP.format("main")
BOOTSTRAP_SPARE = _BOOTSTRAP.format("wait")

_SETGID = 6
"""CAP_SETGID (linux/capability.h)."""
_UNCHANGED = 2**32 - 1
"""(uid_t) -1: the kernel would leave the user as it is, which is root (setresuid(2))."""


class _Failed(Exception):
    def __init__(self, step: str, error: OSError, path: str) -> None:
        super().__init__(step)
        self.step, self.errno, self.path = step, error.errno or 0, path


def main(descriptor: str) -> NoReturn:
    """Reads the order from the file descriptor and carries it out.

    What fails is told to `report`, a descriptor that closes when the program runs, or to a person on stderr. The exit
    code is then the one that a shell would give: 127 for a program that is not there, 126 for anything else.
    The order is in Python's own binary form: importing `json` would double the time until the program runs.
    """
    with os.fdopen(int(descriptor), "rb") as file:
        order: dict[str, Any] = marshal.load(file)
    report: int | None = order["report"]
    if report is not None:
        os.set_inheritable(report, False)
    _carry_out(order, report)


def wait(descriptor: str) -> NoReturn:
    """As `main`, for an order that comes as a message on a socket, with descriptors: the standard streams, `report`,
    and those of the `namespaces` that the order names. Ends when whoever could give the order is gone.
    """
    import _socket  # `socket` has more than is needed, and `mounts` is loaded now that there is time

    import pilotfish.runtime.linux.mounts  # noqa: F401

    os.set_inheritable(int(descriptor), False)
    channel = _socket.socket(fileno=int(descriptor))
    message, ancillary, _, _ = channel.recvmsg(1 << 20, _socket.CMSG_SPACE(64), _socket.MSG_CMSG_CLOEXEC)
    if not message:
        os._exit(0)
    descriptors = memoryview(ancillary[0][2]).cast("i")
    for number in range(3):
        os.dup2(descriptors[number], number)
    order = marshal.loads(message)
    order.update(zip(order["namespaces"], descriptors[4:], strict=True))
    _carry_out(order, descriptors[3])


def _carry_out(order: Mapping[str, Any], report: int | None) -> NoReturn:
    try:
        _launch(order)
    except _Failed as failed:
        text = f"{failed.step}\0{failed.errno}\0{failed.path}"
        if report is None:
            text = f"error: {failed.step} {failed.path}: {os.strerror(failed.errno)}\n"
        os.write(2 if report is None else report, text.encode(errors="surrogateescape"))
        os._exit(127 if failed.errno == errno.ENOENT else 126)


def _launch(order: Mapping[str, Any]) -> NoReturn:
    # Python ignores these two, and a program that is executed would inherit that.
    signal(SIGPIPE, SIG_DFL)
    signal(SIGXFSZ, SIG_DFL)
    os.umask(0o022)
    program = _open_program(order["executable"])
    netns: int | None = order.get("netns")
    if netns is not None:
        _step("namespace", "", lambda: syscalls.setns(netns, syscalls.CLONE_NEWNET))
    groups = _step("limit", "", lambda: [_open_group(group) for group in order["cgroups"]])
    if order["join"]:
        _step("join", str(order["join"]), lambda: _join(order["join"]))
    elif order["root"]:
        _step("limit", "", lambda: _enter_alone(groups))
        _step("mount", "", lambda: _mount_image(order))
    elif order["mounts"] or order["hidden"] or order["processes"] or order["read_only_root"]:
        _step("mount", "", lambda: _mount(order))
    if order["hostname"] and not order["join"]:
        _step("hostname", order["hostname"], lambda: _set_hostname(order["hostname"]))
    if order["attended"]:
        from pilotfish.runtime.linux.attend import fork_attended

        fork_attended()
    if order["account"]:
        order = _step("account", order["account"][0], lambda: _resolve(order))
    # Not sooner than need be: what this launcher takes of memory is not the program's.
    _step("limit", "", lambda: _enter(groups))
    userns: int | None = order.get("userns")
    if userns is not None:
        _step("owner", "", lambda: _enter_userns(userns))
    _step("user", str(order["uid"]), lambda: _become(order))
    if order["attended"]:  # here, as a change of user would forget it
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, SIGKILL)
    _step("chdir", order["cwd"], lambda: os.chdir(order["cwd"]))
    _step("exec", order["argv"][0], lambda: _execute(program, order["argv"], order["env"]))
    raise AssertionError("unreachable")


def _step(name: str, path: str, action: Callable[[], T]) -> T:
    try:
        return action()
    except OSError as error:
        named = name in ("limit", "mount", "account") and error.filename
        raise _Failed(name, error, os.fsdecode(error.filename) if named else path) from None


def _open_program(path: str | None) -> int | None:
    """Opened before privileges go: a user may run a program that lies where it can't look, such as under /root."""
    if path is None:
        return None
    try:
        return os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise _Failed("exec", error, path) from None


def _join(pid: int) -> None:
    """Into the namespaces of a running process; all are opened before the first changes /proc. A process stays in the
    PID namespace that it began in: its child will be in the other."""
    # Where we are going to, our own files may not be.
    from pilotfish.runtime.linux import accounts, attend  # noqa: F401

    kinds = {
        "cgroup": syscalls.CLONE_NEWCGROUP,
        "mnt": syscalls.CLONE_NEWNS,
        "uts": syscalls.CLONE_NEWUTS,
        "pid": syscalls.CLONE_NEWPID,
    }
    opened = [(os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC), kind) for name, kind in kinds.items()]
    elsewhere = os.stat(f"/proc/{pid}/ns/pid").st_ino != os.stat("/proc/self/ns/pid").st_ino
    for descriptor, kind in opened:
        if kind != syscalls.CLONE_NEWPID or elsewhere:
            syscalls.setns(descriptor, kind)


def _mount(order: Mapping[str, Any]) -> None:
    from pilotfish.runtime.linux.mounts import mount_all, mount_proc

    mount_all(order["mounts"], order["hidden"], order["read_only_root"])
    if order["processes"]:
        mount_proc(read_only=order["bounding"] is not None)


def _mount_image(order: Mapping[str, Any]) -> None:
    from pilotfish.runtime.linux import accounts  # noqa: F401
    from pilotfish.runtime.linux.rootfs import mount_image

    layers, writable, volumes = order["root"]
    mount_image(
        layers,
        writable,
        volumes,
        order["mounts"],
        order["hidden"],
        order["cwd"],
        order["cgroups"],
        read_only=order["read_only_root"],
        privileged=order["bounding"] is None,
    )


def _open_group(group: str) -> int:
    return os.open(f"{group}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)


def _enter_alone(groups: list[int]) -> None:
    """And sees them as the roots, as in a container: that is where programs look for what they may take."""
    if groups:
        _enter(groups)
        syscalls.unshare(syscalls.CLONE_NEWCGROUP)


def _enter(groups: list[int]) -> None:
    """Into control groups. 0 is whoever writes it (cgroups(7))."""
    for group in groups:
        os.write(group, b"0")


def _enter_userns(descriptor: int) -> None:
    """With root's rights there, in the place of those that we had; what follows bounds them."""
    syscalls.setns(descriptor, syscalls.CLONE_NEWUSER)
    os.close(descriptor)


def _resolve(order: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the user that the files around us name, and its home."""
    from pilotfish.runtime.linux.accounts import find_account

    uid, gid, groups, home = find_account(*order["account"])
    env = order["env"] if "HOME" in order["env"] else {**order["env"], "HOME": home}
    return {**order, "uid": uid, "gid": gid, "groups": [gid, *order["groups"], *groups], "env": env}


def _set_hostname(name: str) -> None:
    syscalls.unshare(syscalls.CLONE_NEWUTS)
    syscalls.sethostname(name)


def _become(order: Mapping[str, Any]) -> None:
    """User, groups and capabilities (bits). `capabilities` are held whoever the user is; where they are None, the
    kernel gives root all that `bounding` leaves, and others none."""
    if _UNCHANGED in (order["uid"], order["gid"], *order["groups"]):
        raise OSError(errno.EINVAL, "")
    _give_pipes(order["uid"], order["gid"])
    keep: int | None = order["capabilities"]
    bounding: int | None = order["bounding"] if keep is None else keep
    if bounding is not None:
        _bound(bounding)
    if keep is not None:
        syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)
    # Nobody else may; an agent alone may run without root, or as a container's root that lacks the right.
    if syscalls.permitted() >> _SETGID & 1:
        os.setgroups(order["groups"])
    os.setresgid(order["gid"], order["gid"], order["gid"])
    os.setresuid(order["uid"], order["uid"], order["uid"])
    if keep is not None:
        syscalls.capset(keep, keep)
        for capability in range(keep.bit_length()):
            if keep >> capability & 1:
                syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_RAISE, capability)
    elif bounding is not None:
        syscalls.capset(syscalls.permitted() & bounding, 0)
    if keep is not None or order["no_new_privileges"]:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)


def _bound(keep: int) -> None:
    """Drops all but `keep` from the bounding set, so that no program executed later can gain it."""
    for capability in range(64):
        if not keep >> capability & 1:
            try:
                syscalls.prctl(syscalls.PR_CAPBSET_DROP, capability)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                return  # past the kernel's last capability


def _give_pipes(uid: int, gid: int) -> None:
    """Standard streams that are pipes become the user's, or it could not open /dev/stdout (proc(5), /proc/PID/fd)."""
    for descriptor in (0, 1, 2):
        if os.readlink(f"/proc/self/fd/{descriptor}").startswith("pipe:"):
            os.fchown(descriptor, uid, gid)


def _execute(program: int | None, argv: list[str], env: dict[str, str]) -> None:
    """execvp(3)'s search, as `os.execvpe` imports a module that the user may not be able to read."""
    if program is not None:
        os.execve(program, argv, env)
    if "/" in argv[0]:
        _execute_file(argv, env)
    failure: OSError = FileNotFoundError(errno.ENOENT, "")
    for directory in env.get("PATH", os.defpath).split(":"):
        path = f"{directory or '.'}/{argv[0]}"
        try:
            os.execve(path, argv, env)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            # That the user may not look into a folder says nothing of the program.
            if os.path.exists(path):
                failure = error
    raise failure


def _execute_file(argv: list[str], env: dict[str, str]) -> None:
    try:
        os.execve(argv[0], argv, env)
    except FileNotFoundError as error:
        # The kernel says the same where a script's first line names what is not there (execve(2), ENOENT).
        raise _Failed("interpreter" if os.path.exists(argv[0]) else "exec", error, argv[0]) from None
