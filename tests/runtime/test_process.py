"""Processes as containers: what they see, as whom they run, how they end, and why one did not start."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.process import PIPE, STDOUT, BindMount, LaunchError, Process, ProcessSpec, start
from pilotfish.runtime.linux.spare import SpareLauncher

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def shell(command: str) -> ProcessSpec:
    return ProcessSpec(("sh", "-c", command), ENV, stdout=PIPE, stderr=STDOUT)


async def output(spec: ProcessSpec) -> str:
    process = await start(spec)
    assert process.stdout is not None
    text = await process.stdout.read()
    assert await process.wait() == 0, text
    return text.decode().strip()


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "file").write_text("content")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner").write_text("inner content")
    # pytest's own folders are for root alone.
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    return tmp_path


async def test_only_what_was_said_is_inherited() -> None:
    spec = replace(shell("env; ls /proc/self/fd | wc -l; pwd; umask"), env={**ENV, "A": "b"}, cwd="/usr")
    lines = (await output(spec)).splitlines()
    assert "A=b" in lines
    assert not any(line.startswith("HOME=") for line in lines)
    # Standard streams, and the directory that ls reads.
    assert lines[-3:] == ["4", "/usr", "0022"]


async def test_it_runs_in_its_namespace(netns: NetNs) -> None:
    spec = replace(shell("readlink /proc/self/ns/net"), netns=netns)
    assert await output(spec) == f"net:[{netns.path.stat().st_ino}]"
    assert NetNs.current().path.stat().st_ino != netns.path.stat().st_ino


async def test_it_runs_as_its_user_and_can_open_its_output() -> None:
    spec = replace(shell("id -u; id -g; id -G; echo written > /dev/stdout"), uid=1337, gid=1338, groups=(5,))
    assert (await output(spec)).split() == ["1337", "1338", "1338", "5", "written"]


async def test_a_proxy_has_no_capability_and_gains_none() -> None:
    spec = replace(shell("grep -E '^(Cap|NoNewPrivs)' /proc/self/status"), uid=1337, gid=1337)
    text = await output(replace(spec, keep_capabilities=frozenset()))
    assert {line.split()[1] for line in text.splitlines() if line.startswith("Cap")} == {"0000000000000000"}
    assert text.endswith("1")


async def test_one_capability_can_be_kept() -> None:
    spec = replace(shell("grep CapEff /proc/self/status"), uid=1337, gid=1337)
    text = await output(replace(spec, keep_capabilities=frozenset({"CAP_NET_ADMIN"})))
    assert int(text.split()[1], 16) == 1 << 12


async def test_signals_are_not_ignored() -> None:
    """Python ignores SIGPIPE and SIGXFSZ; a program started by it would go on writing into a closed pipe."""
    ignored = int((await output(shell("grep SigIgn /proc/self/status"))).split()[1], 16)
    assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1)


async def test_a_hostname_of_its_own() -> None:
    before = os.uname().nodename
    assert await output(replace(shell("uname -n"), hostname="webapp-0")) == "webapp-0"
    assert os.uname().nodename == before


async def test_volumes_on_paths_that_do_not_exist(volume: Path) -> None:
    spec = replace(
        shell("cat /pf-app/config/file /pf-app/single /etc/pf-config/inner; cat /etc/passwd > /dev/null; ls / /tmp"),
        mounts=(
            BindMount(str(volume), "/pf-app/config", read_only=True),
            BindMount(str(volume / "file"), "/pf-app/single"),
            BindMount(str(volume / "folder"), "/etc/pf-config"),
        ),
    )
    text = await output(spec)
    assert text.startswith("contentcontentinner content")
    assert "usr" in text
    assert not Path("/pf-app").exists()
    assert not Path("/etc/pf-config").exists()


async def test_everything_else_stays_as_it_is(volume: Path) -> None:
    """Symbolic links, owners, modes and what other mounts hold, also where the root had to be made anew."""
    seen = "/bin /etc /root /tmp /usr/bin/env /dev/null /proc/self /sys"
    command = f"stat -c '%n %F %U %a' {seen}; ls {volume} /dev | sort"
    plain = await output(shell(command))
    mirrored = await output(replace(shell(command), mounts=(BindMount(str(volume), "/pf-app/config"),)))
    assert mirrored == plain


async def test_a_read_only_volume_can_not_be_written(volume: Path) -> None:
    command = "touch /pf-data/new 2>&1; cat /pf-data/file"
    text = await output(replace(shell(command), mounts=(BindMount(str(volume), "/pf-data", read_only=True),)))
    assert "Read-only file system" in text
    assert not (volume / "new").exists()


async def test_a_volume_can_be_written_by_default(volume: Path) -> None:
    await output(replace(shell("echo new > /pf-data/new"), mounts=(BindMount(str(volume), "/pf-data"),)))
    assert (volume / "new").read_text() == "new\n"


async def test_a_volume_inside_a_volume(volume: Path) -> None:
    mounts = (BindMount(str(volume / "folder"), "/pf-data/deep/er"), BindMount(str(volume), "/pf-data", read_only=True))
    assert await output(replace(shell("cat /pf-data/deep/er/inner"), mounts=mounts)) == "inner content"


async def test_a_file_over_a_file_and_over_a_symbolic_link(volume: Path) -> None:
    link = volume / "link"
    link.symlink_to("folder/inner")
    mounts = (
        BindMount(str(volume / "file"), "/etc/resolv.conf", read_only=True),
        BindMount(str(volume / "file"), str(link)),
    )
    text = await output(replace(shell(f"cat /etc/resolv.conf {link} {volume}/folder/inner"), mounts=mounts))
    assert text == "content" * 3
    assert link.read_text() == "inner content"


async def test_a_source_that_another_volume_hides(volume: Path) -> None:
    mounts = (BindMount(str(volume / "folder"), str(volume)), BindMount(str(volume / "file"), f"{volume}/deeper/file"))
    assert (
        await output(replace(shell(f"cat {volume}/inner {volume}/deeper/file"), mounts=mounts))
        == "inner contentcontent"
    )


def own_mounts() -> list[str]:
    """But for the names of network namespaces, which others make meanwhile."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if " /run/netns/" not in line]


async def test_mounts_are_nobody_elses(volume: Path) -> None:
    before = own_mounts()
    process = await start(replace(shell("exec sleep 60"), mounts=(BindMount(str(volume), "/pf-app/config"),)))
    try:
        assert own_mounts() == before
    finally:
        await kill(process)


async def kill(process: Process) -> None:
    process.signal_group(signal.SIGKILL)
    await process.wait()
    process.close()


FAILURES = (
    ({"argv": ("./x",), "cwd": "/usr"}, "exec", r"command \./x can't be run in workingDir /usr: No such file"),
    ({"argv": ("no-such-program",)}, "exec", "command no-such-program can't be run"),
    ({"argv": ("/etc/passwd",)}, "exec", "command /etc/passwd can't be run .*: Permission denied"),
    ({"cwd": "/no/such"}, "chdir", "workingDir /no/such can't be entered by user 0: No such file"),
    ({"mounts": (BindMount("/no/such", "/data"),)}, "mount", "volume at /no/such can't be mounted: No such file"),
    (
        {"mounts": (BindMount("/usr", "/etc/passwd"),)},
        "mount",
        "volume at /etc/passwd can't be mounted: Not a directory",
    ),
    ({"executable": "/no/such"}, "exec", "command /no/such can't be run"),
    ({"uid": 2**32 - 1}, "user", "user 4294967295, group 0 can't be taken"),
)


@pytest.mark.parametrize(("change", "step", "message"), FAILURES)
async def test_why_it_did_not_start(change: dict[str, object], step: str, message: str) -> None:
    with pytest.raises(LaunchError, match=message) as failure:
        await start(replace(shell("true"), **change))  # type: ignore[arg-type]
    assert failure.value.step == step


async def test_a_missing_interpreter_is_told_from_a_missing_script(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/python\n")
    script.chmod(0o755)
    with pytest.raises(LaunchError, match="the interpreter that its first line names is missing"):
        await start(replace(shell("true"), argv=(str(script),)))


async def test_a_missing_namespace_is_named() -> None:
    with pytest.raises(MachineError, match=r"network namespace /run/netns/pf-none can't be opened"):
        await start(replace(shell("true"), netns=NetNs.named("pf-none")))


async def test_a_user_runs_a_program_that_it_can_not_reach(tmp_path: Path) -> None:
    """As Envoy where the virtual environment lies under /root."""
    program = tmp_path / "true"
    program.write_bytes(Path("/usr/bin/true").read_bytes())
    program.chmod(0o755)
    tmp_path.chmod(0o700)
    spec = ProcessSpec((str(program),), ENV, uid=1337, gid=1337)
    with pytest.raises(LaunchError, match="Permission denied"):
        await start(spec)
    process = await start(replace(spec, executable=str(program)))
    assert await process.wait() == 0


@pytest.mark.parametrize(("command", "code"), [("exit 3", 3), ("kill -TERM $$", -15)])
async def test_how_it_ended(command: str, code: int) -> None:
    process = await start(ProcessSpec(("sh", "-c", command), ENV))
    assert [await process.wait(), await process.wait(), process.returncode] == [code] * 3
    process.signal(signal.SIGTERM)


async def test_what_it_started_ends_with_it(netns: NetNs) -> None:
    process = await start(replace(shell("sleep 60 & exit 0"), netns=netns))
    assert await process.wait() == 0
    assert process.stdout is not None
    # The pipe closes when the last of them has ended.
    assert await process.stdout.read() == b""


async def test_a_signal_to_all_of_it(netns: NetNs) -> None:
    process = await start(replace(shell("trap 'exit 9' TERM; echo ready; sleep 60 & wait"), netns=netns))
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    process.signal_group(signal.SIGTERM)
    assert await process.wait() == 9
    process.close()


async def test_output_to_a_file_that_its_user_may_open(volume: Path) -> None:
    log = volume / "app.log"
    command = "echo one; echo two >> /dev/stderr; echo three >> /dev/stdout"
    spec = ProcessSpec(("sh", "-c", command), ENV, uid=1337, gid=1337, stdout=str(log), stderr=STDOUT)
    process = await start(spec)
    assert await process.wait() == 0
    assert log.read_text() == "one\ntwo\nthree\n"


async def test_cancelling_a_start_leaves_no_process(netns: NetNs) -> None:
    task = asyncio.create_task(start(replace(shell("sleep 60"), netns=netns)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while netns.pids():
        await asyncio.sleep(0.01)


def test_a_specification_is_kept_as_json(tmp_path: Path, netns: NetNs) -> None:
    spec = replace(
        shell("true"),
        netns=netns,
        mounts=(BindMount("/usr", "/data", True),),
        keep_capabilities=frozenset({"CAP_NET_RAW"}),
    )
    spec.save(tmp_path / "app.launch.json")
    assert ProcessSpec.load(tmp_path / "app.launch.json") == spec


def test_a_missing_specification_is_named(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"app\.launch\.json can't be read"):
        ProcessSpec.load(tmp_path / "app.launch.json")


def run_exec(path: Path, pid: int | None, *argv: str, text: str = "") -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; from pathlib import Path; from pilotfish.runtime.linux.process import ProcessSpec, exec_in;"
        f"exec_in(ProcessSpec.load(Path({str(path)!r})), {pid}, tuple(sys.argv[1:]))"
    )
    return subprocess.run([sys.executable, "-c", code, *argv], input=text, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("running", [True, False])
async def test_another_command_in_the_same_surroundings(running: bool, volume: Path, netns: NetNs) -> None:
    spec = replace(
        shell("echo own > /pf-app/note; exec sleep 60"),
        env={**ENV, "A": "b"},
        netns=netns,
        mounts=(BindMount(str(volume), "/pf-app/config"),),
        hostname="webapp-0",
        uid=1337,
        gid=1337,
    )
    spec = replace(spec, argv=("sleep", "60"))
    spec.save(volume / "app.launch.json")
    process = await start(spec)
    try:
        command = "cat; cat /pf-app/config/file; echo; uname -n; id -u; echo $A; readlink /proc/self/ns/net; exit 7"
        done = await asyncio.to_thread(
            run_exec, volume / "app.launch.json", process.pid if running else None, "sh", "-c", command, text="typed\n"
        )
        assert (done.returncode, done.stderr) == (7, "")
        assert done.stdout.split() == ["typed", "content", "webapp-0", "1337", "b", f"net:[{netns.path.stat().st_ino}]"]
    finally:
        await kill(process)


def test_a_missing_command_exits_as_in_a_shell(tmp_path: Path) -> None:
    shell("true").save(tmp_path / "app.launch.json")
    done = run_exec(tmp_path / "app.launch.json", None, "no-such-program")
    assert (done.returncode, done.stderr) == (127, "error: exec no-such-program: No such file or directory\n")


def test_the_launcher_imports_little() -> None:
    """Every container waits for it."""
    code = "import sys; sys.path[:0] = sys.argv[1:]; import pilotfish.runtime.linux.launch; print(*sys.modules)"
    source = str(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, source], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"typing", "pathlib", "re", "signal", "json", "asyncio"} & set(done)


@pytest.fixture
def spare() -> Iterator[SpareLauncher]:
    launcher = SpareLauncher()
    yield launcher
    launcher.close()


async def written(spec: ProcessSpec, spare: SpareLauncher, tmp_path: Path) -> str:
    """What a program that the spare launcher starts says; a spare has no pipes to give."""
    said = tmp_path / "said"
    process = await start(replace(spec, stdout=str(said), stderr=STDOUT), spare)
    assert await process.wait() == 0, said.read_text()
    return said.read_text()


async def test_a_spare_launcher_starts_a_program_as_another_would(
    netns: NetNs, spare: SpareLauncher, volume: Path, tmp_path: Path
) -> None:
    command = (
        "readlink /proc/self/ns/net; id -u; env; grep -E '^(CapBnd|SigIgn|NoNewPrivs)' /proc/self/status; "
        "ls /proc/self/fd; cat /pf-data/file; uname -n; pwd; umask; readlink /proc/self/fd/0; "
        "[ $(cut -d' ' -f6 /proc/$$/stat) = $$ ] && echo leads its session"
    )
    spec = replace(
        shell(command),
        netns=netns,
        uid=1337,
        gid=1337,
        cwd="/usr",
        keep_capabilities=frozenset(),
        mounts=(BindMount(str(volume), "/pf-data", read_only=True),),
        hostname="webapp-0",
    )
    usual = await output(spec)
    spare.prepare()
    assert (await written(spec, spare, tmp_path)).strip() == usual
    assert f"net:[{netns.path.stat().st_ino}]" in usual


async def test_a_spare_launcher_serves_once(spare: SpareLauncher) -> None:
    spare.prepare()
    (waiting,) = children()
    for expected in (True, False):
        process = await start(replace(shell("true"), stdout=None, stderr=None), spare)
        assert (process.pid == waiting) is expected
        assert await process.wait() == 0


def children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()]


async def test_a_spare_launcher_says_why_it_can_not(spare: SpareLauncher) -> None:
    spare.prepare()
    with pytest.raises(LaunchError, match="command /no/such can't be run"):
        await start(ProcessSpec(("/no/such",), ENV), spare)


async def test_a_spare_launcher_that_is_gone_is_missed_by_nobody(spare: SpareLauncher) -> None:
    spare.prepare()
    (pid,) = children()
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z":
        await asyncio.sleep(0.01)
    assert await (await start(replace(shell("true"), stdout=None, stderr=None), spare)).wait() == 0
