"""The programs of a cluster: compiled from source, or unpacked from Debian's packages, once, and kept.

    components/ and the Go version ─hash─▶ <cache>/pilotfish/cluster/<hash>/{control,node,coredns}
    names of Debian packages       ─hash─▶ <cache>/pilotfish/cluster/<hash>/usr/...       installed nowhere

`control` (etcd, kube-apiserver, kubectl) is all that an API server alone takes. To compile it costs minutes; so whoever
needs it may have it done beside other work (`Build`), by a process that runs when nobody else wants to.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cluster.process import BOUND

REPOSITORY = Path(__file__).parents[2]
COMPONENTS = Path(__file__).parent / "components"
BUILD_COMMAND = f"{sys.executable} -m tests.cluster build"
_KUBERNETES = "1.34.1"
_PACKAGES = ("containerd", "runc", "containernetworking-plugins")
_KEPT = 3
"""How many versions of each thing the cache has: those of two branches, and one more."""


class Missing(Exception):
    """Why there is no such cluster on this machine, and what would help."""


def control(*, build: bool = True) -> Path:
    """etcd, kube-apiserver, kubectl, and what every Namespace needs."""
    return _compiled("control", build)


def has_control() -> bool:
    try:
        control(build=False)
    except Missing:
        return False
    return True


def node(*, build: bool = True) -> Path:
    """kube-controller-manager, kube-scheduler, kubelet and kube-proxy. Half of it is compiled with `control`."""
    return _compiled("node", build)


def coredns(*, build: bool = True) -> Path:
    return _compiled("coredns", build)


def debian(*, build: bool = True) -> Path:
    """The folder that plays `/`, in which containerd, runc and the CNI plugins are."""
    return kept("debian", " ".join(_PACKAGES), _unpack, build) / "root"


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pilotfish" / "cluster"


def kept(name: str, key: str, make: Callable[[Path], None], build: bool = True) -> Path:
    """The folder that `make` has filled for this key; made now, if nobody has, where `build` allows it."""
    folder = cache() / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
    if folder.is_dir():
        os.utime(folder)
        return folder
    if not build:
        raise Missing(f"{name} is not built. To build it: {BUILD_COMMAND} {name}")
    with _locked(name):
        if not folder.is_dir():
            unfinished = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache()))
            try:
                make(unfinished)
                unfinished.chmod(0o755)
                unfinished.rename(folder)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
            _forget_oldest(name)
    return folder


@contextmanager
def _locked(name: str) -> Iterator[None]:
    cache().mkdir(parents=True, exist_ok=True)
    with (cache() / f".{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for left in cache().glob(f".{name}-*"):  # of one that was killed
            shutil.rmtree(left, ignore_errors=True)
        yield


def _forget_oldest(name: str) -> None:
    versions = sorted(cache().glob(f"{name}-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in versions[_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)


def _compiled(program: str, build: bool) -> Path:
    return kept(program, _sources_key(program), functools.partial(_compile, program), build) / program


def _sources_key(program: str) -> str:
    """What a program is made of: its own files, the module's, the compiler."""
    files = [COMPONENTS / "go.mod", COMPONENTS / "go.sum", *sorted((COMPONENTS / program).iterdir())]
    return "\n".join([_go_version(), _KUBERNETES, *(file.read_text() for file in files)])


@functools.cache
def _go_version() -> str:
    if (go := shutil.which("go")) is None:
        raise Missing("Go is not installed, of which kube-apiserver is made (1.24 or newer)")
    return subprocess.run([go, "env", "GOVERSION"], text=True, capture_output=True, check=True).stdout.strip()


def _compile(program: str, folder: Path) -> None:
    version = "k8s.io/component-base/version"
    major, minor, _ = _KUBERNETES.split(".")
    names = {
        f"{version}.gitVersion": f"v{_KUBERNETES}",
        f"{version}.gitMajor": major,
        f"{version}.gitMinor": minor,
        f"{version}.gitTreeState": "clean",
        "k8s.io/client-go/pkg/version.gitVersion": f"v{_KUBERNETES}",
    }
    linker = " ".join(["-s", "-w", *(f"-X {name}={value}" for name, value in names.items())])
    _run(
        # No debugging information, which costs 7 % of the time.
        "go", "build", "-trimpath", "-tags", "netgo,osusergo", "-gcflags=all=-dwarf=false", "-ldflags", linker,
        "-o", str(folder / program), f"./{program}",
        cwd=COMPONENTS,
        environment={
            "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-buildvcs=false",
            "GOTMPDIR": str(folder),  # a compiler that is killed takes away nothing
        },
    )  # fmt: skip


def _unpack(folder: Path) -> None:
    if shutil.which("apt-get") is None:
        raise Missing(f"this is no Debian, from whose packages {', '.join(_PACKAGES)} come")
    _run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *_PACKAGES, cwd=folder)
    for package in folder.glob("*.deb"):
        _run("dpkg", "-x", str(package), str(folder / "root"), cwd=folder)
        package.unlink()


def _run(*command: str, cwd: Path, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        (*BOUND, *command),
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = "\n".join(done.stderr.splitlines()[-20:])
        raise Missing(f"`{' '.join(command[:2])}` failed with exit code {done.returncode}:\n{said}")


class Build:
    """Compiles `control` beside other work, for those who have none yet, until it is told to stop.

    Go keeps what it has compiled: the next one goes on where this one was stopped.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        # A session of its own, of processes that have the processor when nobody else wants it.
        self._process = subprocess.Popen(
            ["chrt", "--idle", "0", *BOUND, *BUILD_COMMAND.split(), "control"],
            cwd=REPOSITORY, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def wait(self, until: float) -> None:
        """Until it has ended, and not longer than until that moment of `time.monotonic()`."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, until - time.monotonic()))

    def why_not(self) -> str:
        """Why there is nothing yet."""
        if self._process.poll() is None:
            seconds = time.monotonic() - self._began
            why = f"kube-apiserver: {seconds:.0f} s did not suffice to compile it"
            return f"{why}. To go on with it: {BUILD_COMMAND} control"
        return self._process.communicate()[0].strip()

    def stop(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGTERM)
        with self._process:  # it is waited for, and what it said is forgotten
            pass
