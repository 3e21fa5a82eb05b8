"""PID namespaces: what a process in one sees, how it ends, and what is reaped."""

import asyncio
import os
import pty
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio

from pilotfish.model import capabilities
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.pidns import PidNs
from pilotfish.runtime.linux.process import PIPE, STDOUT, BindMount, LaunchError, Process, ProcessSpec, start

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


@pytest_asyncio.fixture
async def pidns(netns: NetNs) -> AsyncIterator[PidNs]:
    made = await PidNs.create(netns)
    yield made
    made.kill()
    await made.ended()
    made.close()


def shell(command: str, pidns: PidNs | None = None) -> ProcessSpec:
    inside = None if pidns is None else pidns.descriptor
    return ProcessSpec(("sh", "-c", command), ENV, pidns=inside, stdout=PIPE, stderr=STDOUT)


async def output(spec: ProcessSpec) -> str:
    process = await start(spec)
    assert process.stdout is not None
    text = await process.stdout.read()
    assert await process.wait() == 0, text
    return text.decode().strip()


async def test_it_sees_its_own_processes_alone(pidns: PidNs) -> None:
    seen = await output(shell("echo $$; cd /proc; echo [0-9]*", pidns))
    own, *listed = seen.split()
    assert listed == ["1", own], "the first process and the shell itself"
    assert str(os.getpid()) not in listed


async def test_signals_end_it_as_anywhere_else(pidns: PidNs) -> None:
    """The first process of a namespace would ignore what it has no handler for; a program is never that one."""
    process = await start(replace(shell("", pidns), argv=("sleep", "60")))
    process.signal(signal.SIGTERM)
    assert await process.wait() == -signal.SIGTERM
    process.close()


async def test_orphans_are_reaped(pidns: PidNs) -> None:
    command = "(setsid sh -c 'exit 3' &); until set -- /proc/[0-9]*; [ $# = 2 ]; do sleep 0.01; done"
    async with asyncio.timeout(5):
        await output(shell(command, pidns))


async def test_all_of_it_ends_at_once(pidns: PidNs) -> None:
    """Whoever made a session of its own, is stopped, or ignores every signal."""
    command = "trap '' TERM INT HUP; setsid sleep 60 & setsid sh -c 'kill -STOP $$' & echo on; wait; sleep 60"
    process = await start(shell(command, pidns))
    assert process.stdout is not None
    assert await process.stdout.readline() == b"on\n"
    pidns.kill()
    async with asyncio.timeout(5):
        await pidns.ended()
        assert await process.wait() == -signal.SIGKILL
        assert await process.stdout.read() == b""
    assert not pidns.alive


async def test_one_that_ends_takes_nobody_in(pidns: PidNs) -> None:
    """Its first process is still there while we have not waited for another that was killed with it."""
    process = await start(replace(shell("", pidns), argv=("sleep", "60")))
    assert pidns.alive
    pidns.kill()
    assert await process.wait() == -signal.SIGKILL
    assert not pidns.alive
    process.close()


async def test_the_machines_settings_can_not_be_written_by_a_confined_root(pidns: PidNs) -> None:
    command = "(: >> /proc/sys/kernel/core_pattern) 2>&1 || true"
    seen = await output(replace(shell(command, pidns), bounding=capabilities.DEFAULT))
    assert "Read-only file system" in seen


async def test_what_is_hidden_is_empty_but_for_its_volumes(pidns: PidNs, tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    state = tmp_path / "state"
    (state / "volume").mkdir(parents=True)
    (state / "volume" / "file").write_text("content")
    (state / "control.sock").touch()
    volume = BindMount(str(state / "volume"), "/pf-volume", read_only=True)
    spec = replace(shell(f"ls -A {state}; cat /pf-volume/file", pidns), hidden=(str(state),), mounts=(volume,))
    assert await output(spec) == "content"
    link = tmp_path / "link"
    link.symlink_to("state")
    volume = BindMount(f"{link}/volume", "/pf-volume")
    assert await output(replace(spec, hidden=(str(state), str(link)), mounts=(volume,))) == "content"
    assert (state / "control.sock").exists()


async def test_the_first_process_leads_to_nothing_hidden(netns: NetNs, tmp_path: Path) -> None:
    (tmp_path / "control.sock").touch()
    made = await PidNs.create(netns, (str(tmp_path),))
    try:
        assert await output(shell(f"ls -A /proc/1/root{tmp_path}", made)) == ""
    finally:
        made.kill()
        await made.ended()
        made.close()


async def test_a_link_in_a_volume_leads_out_of_it_to_nothing(tmp_path: Path) -> None:
    """A container that may write a volume is not shown the machine by another one's subPath."""
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "out").symlink_to("/etc")
    (tmp_path / "volume" / "in").symlink_to("inner")
    (tmp_path / "volume" / "inner").mkdir()
    volume = str(tmp_path / "volume")
    with pytest.raises(LaunchError, match="volume at /pf-x can't be mounted"):
        await start(replace(shell("true"), mounts=(BindMount(f"{volume}/out", "/pf-x", root=volume),)))
    within = replace(shell("ls -d /pf-x"), mounts=(BindMount(f"{volume}/in", "/pf-x", root=volume),))
    assert await output(within) == "/pf-x"


async def test_a_read_only_root(pidns: PidNs, tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    volume = BindMount(str(tmp_path), "/pf-data")
    command = (
        "for f in /pf-no /tmp/pf-no /etc/pf-no /usr/pf-no /var/pf-no; do (: > $f) 2>/dev/null && echo wrote $f; done; "
        "echo x > /pf-data/yes; echo x > /dev/null; (: > /dev/shm/pf-yes) && rm /dev/shm/pf-yes"
    )
    spec = replace(shell(command, pidns), read_only_root=True, mounts=(volume,), bounding=capabilities.DEFAULT)
    assert await output(spec) == ""
    assert (tmp_path / "yes").read_text() == "x\n"
    assert not [name for name in ("/pf-no", "/tmp/pf-no", "/etc/pf-no") if Path(name).exists()]


BITS = "grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs)' /proc/self/status"


async def bits(spec: ProcessSpec) -> dict[str, int]:
    return {line.split(":")[0]: int(line.split()[1], 16) for line in (await output(spec)).splitlines()}


@pytest.mark.parametrize("names", [capabilities.DEFAULT, frozenset(), frozenset({"CAP_NET_ADMIN"})])
async def test_root_has_what_its_bounding_set_leaves(names: frozenset[str]) -> None:
    found = await bits(replace(shell(BITS), bounding=names))
    expected = capabilities.mask(names)
    assert found == {
        "CapInh": 0,
        "CapPrm": expected,
        "CapEff": expected,
        "CapBnd": expected,
        "CapAmb": 0,
        "NoNewPrivs": 0,
    }


async def test_another_user_has_none_but_may_gain_them() -> None:
    found = await bits(replace(shell(BITS), bounding=capabilities.DEFAULT, uid=1234, gid=1234))
    assert (found["CapEff"], found["CapBnd"]) == (0, capabilities.mask(capabilities.DEFAULT))


@pytest.mark.parametrize(("no_new_privileges", "expected"), [(False, "0"), (True, "1234")])
async def test_a_program_with_the_set_user_id_bit(no_new_privileges: bool, expected: str, suid: Path) -> None:
    spec = replace(shell(""), argv=(str(suid), "-u"), uid=1234, gid=1234, no_new_privileges=no_new_privileges)
    assert await output(spec) == expected


@pytest.fixture
def suid() -> Iterator[Path]:
    """`id`, as root whoever calls it, as `sudo` is."""
    with TemporaryDirectory() as folder:  # pytest's are in one that is the user's own
        Path(folder).chmod(0o755)
        program = Path(folder, "id")
        program.write_bytes(Path("/usr/bin/id").read_bytes())
        program.chmod(0o4755)
        yield program


# exec


def exec_line(path: Path, pid: int, *argv: str) -> list[str]:
    code = (
        "import sys; from pathlib import Path; from pilotfish.runtime.linux.process import ProcessSpec, exec_in;"
        f"exec_in(ProcessSpec.load(Path({str(path)!r})), {pid}, tuple(sys.argv[1:]))"
    )
    return [sys.executable, "-c", code, *argv]


Line = Callable[..., list[str]]


@pytest_asyncio.fixture
async def inside(pidns: PidNs, netns: NetNs, tmp_path: Path) -> AsyncIterator[Line]:
    """A command line beside a process in the namespace."""
    spec = replace(shell("", pidns), argv=("sleep", "60"), netns=netns, uid=1234, gid=1234, stdout=None, stderr=None)
    spec.save(tmp_path / "launch.json")
    process: Process = await start(spec)
    yield lambda *argv: exec_line(tmp_path / "launch.json", process.pid, *argv)
    process.signal_group(signal.SIGKILL)
    await process.wait()


async def run(line: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run, line, input=text, capture_output=True, text=True, timeout=30, check=False
    )


async def test_a_command_beside_it_sees_the_same(inside: Line) -> None:
    done = await run(inside("sh", "-c", "cat; set -- /proc/[0-9]*; echo $#; id -u; exit 7"), "typed\n")
    assert (done.returncode, done.stdout.split()) == (7, ["typed", "3", "1234"]), (
        "the first, the one beside, and itself"
    )


@pytest.mark.parametrize(("command", "code"), [("no-such", 127), ("/etc/passwd", 126)])
async def test_a_command_that_can_not_be_run_beside_it(inside: Line, command: str, code: int) -> None:
    assert (await run(inside(command))).returncode == code


async def test_a_command_that_a_signal_ends(inside: Line) -> None:
    assert (await run(inside("sh", "-c", "kill -KILL $$"))).returncode == 128 + signal.SIGKILL


async def test_a_signal_reaches_the_command(inside: Line) -> None:
    line = inside("sh", "-c", "trap 'echo heard; exit 5' TERM; echo on; while :; do sleep 0.02; done")
    process = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert await asyncio.to_thread(process.stdout.readline) == "on\n"
    process.terminate()
    assert (await asyncio.to_thread(process.communicate))[0] == "heard\n"
    assert process.returncode == 5


async def test_the_command_ends_with_whoever_called_it(inside: Line, pidns: PidNs) -> None:
    process = subprocess.Popen(inside("sh", "-c", "echo on; exec sleep 61"), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert await asyncio.to_thread(process.stdout.readline) == "on\n"
    process.kill()
    assert (await asyncio.to_thread(process.communicate))[0] == "", "nobody holds its output any more"


async def test_a_terminal_is_the_commands(inside: Line) -> None:
    """Ctrl-C ends what runs in the shell, and not the shell."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *inside("bash", "--norc", "-i")],
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)
    try:
        os.write(leader, b"echo a$((1+1))b\n")
        await asyncio.to_thread(read_until, leader, b"a2b")
        os.write(leader, b"sh -c 'echo g$((1+1))o; exec sleep 60'\n")
        await asyncio.to_thread(read_until, leader, b"g2o")
        os.write(leader, b"\x03")
        await asyncio.to_thread(read_until, leader, b"$ ")
        os.write(leader, b"echo c$((1+2))d; exit 4\n")
        await asyncio.to_thread(read_until, leader, b"c3d")
        assert await asyncio.to_thread(process.wait, 10) == 4
    finally:
        process.kill()
        process.wait()
        os.close(leader)


def read_until(descriptor: int, text: bytes) -> None:
    seen = b""
    while text not in seen:
        seen += os.read(descriptor, 4096)
