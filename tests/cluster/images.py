"""Images of one layer, made of files of this machine, as containerd imports them: no registry is asked.

    files, and the libraries that programs among them load ─▶ layer.tar ─▶ an archive as `docker save` writes it

Source: https://github.com/moby/docker-image-spec/blob/main/spec.md
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from tests.cluster import programs
from tests.cluster.programs import REPOSITORY, Missing
from tests.images import BUSYBOX

TOOLS = "pilotfish.test/tools:1"
"""Busybox, curl, and Python with its standard library: clients and servers of tests."""
OWN_HUB, OWN_TAG = "pilotfish.test", "test"
OWN = f"{OWN_HUB}/pilotfish:{OWN_TAG}"
PAUSE = "pilotfish.test/pause:1"
COREDNS = "pilotfish.test/coredns:1"
_ACCOUNTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
_FOLDERS = ("dev", "etc", "proc", "root", "run", "sys", "tmp", "var")
_MADE_OF = (
    "Containerfile",
    "requirements.lock",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "scripts/image",
    "image",
    "src",
)
_LIBRARY = re.compile(r"(/\S+)\s+\(0x")
_LEFT_OUT = {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "ensurepip", "lib2to3"}
_PAUSE_SOURCE = r"""
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static void end(int s) { exit(0); }
static void reap(int s) { while (waitpid(-1, 0, WNOHANG) > 0); }
int main(void) { signal(SIGINT, end); signal(SIGTERM, end); signal(SIGCHLD, reap); for (;;) pause(); }
"""


def archives(*, build: bool = True) -> list[Path]:
    """What every node has."""
    key = f"{programs.coredns(build=build)} {os.path.realpath(sys.executable)} {Path(__file__).read_text()}"
    folder = programs.kept("images", key, _make, build)
    return sorted(folder.glob("*.tar"))


def pilotfish() -> Path:
    """The archive of this checkout's own image, `OWN`, as users make it."""
    key = hashlib.sha256()
    for file in _files(_MADE_OF):
        key.update(f"{file} ".encode() + file.read_bytes())
    return programs.kept("pilotfish", key.hexdigest(), _build_pilotfish) / "image.tar"


def _files(names: Iterable[str]) -> Iterator[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *names],
        cwd=REPOSITORY, text=True, capture_output=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    yield from (path for name in sorted(listed) if (path := REPOSITORY / name).is_file())


def _build_pilotfish(folder: Path) -> None:
    if shutil.which("podman") is None:
        raise Missing("podman is not installed, which builds pilotfish's image")
    done = subprocess.run(
        [REPOSITORY / "scripts/image", OWN, folder / "image.tar"], text=True, capture_output=True, check=False
    )
    if done.returncode:
        raise Missing(f"pilotfish's image can't be built: {done.stdout}{done.stderr}")


def _make(folder: Path) -> None:
    for program in ("curl", "gcc"):
        if shutil.which(program) is None:
            raise Missing(f"{program} is not installed, which images are made of")
    pause = folder / "pause"
    subprocess.run(
        ["gcc", "-Os", "-static", "-s", "-x", "c", "-o", pause, "-"], input=_PAUSE_SOURCE.encode(), check=True
    )
    write_image(folder / "pause.tar", PAUSE, [(pause, "/pause")], {"Entrypoint": ["/pause"]})
    pause.unlink()
    write_image(folder / "coredns.tar", COREDNS, [(programs.coredns(), "/coredns")], {"Entrypoint": ["/coredns"]})
    python = Path(os.path.realpath(sys.executable))
    library = Path(sysconfig.get_path("stdlib"))
    tools = [
        (BUSYBOX, "/bin/busybox"),
        (Path("/usr/bin/curl"), "/usr/bin/curl"),
        (python, str(python)),
        (library, str(library)),
    ]
    applets = subprocess.run([BUSYBOX, "--list"], text=True, capture_output=True, check=True).stdout.split()
    links = {f"/bin/{applet}": "busybox" for applet in applets if applet != "busybox"}
    write_image(folder / "tools.tar", TOOLS, tools, {}, {**links, "/usr/bin/python3": str(python)})


def write_image(
    archive: Path,
    name: str,
    files: Iterable[tuple[Path, str]],
    configuration: Mapping[str, Any],
    links: Mapping[str, str] | None = None,
) -> None:
    """`files`: what of this machine is where in the image; folders come whole, programs with the libraries that they
    load. `links`: path → target."""
    layer = archive.with_suffix(".layer")
    with tarfile.open(layer, "w") as tar:
        writer = _Layer(tar)
        for source, path in files:
            writer.add(source, path)
        for path, target in (links or {}).items():
            writer.link(path, target)
    digest = hashlib.sha256(layer.read_bytes()).hexdigest()
    image = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], **configuration},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "image.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        tar.add(layer, "layer.tar")
        for path, document in (("image.json", image), ("manifest.json", manifest)):
            _add_text(tar, path, json.dumps(document))
    layer.unlink()


class _Layer:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self._seen: set[str] = set()
        for folder in _FOLDERS:
            self._folder(folder)
        for path, text in _ACCOUNTS.items():
            _add_text(tar, path, text)

    def add(self, source: Path, path: str) -> None:
        if source.is_dir():
            for child in sorted(source.iterdir()):
                if child.name not in _LEFT_OUT and not child.name.startswith("config-") and child.suffix != ".a":
                    self.add(child, f"{path}/{child.name}")
        elif source.is_file() and self._is_new(path):
            info = self._tar.gettarinfo(source.resolve(), path.strip("/"))
            info.uid = info.gid = 0
            info.type = tarfile.REGTYPE  # what is linked twice on this machine
            info.size = source.stat().st_size
            info.mode |= 0o444
            with source.open("rb") as file:
                self._tar.addfile(info, file)
            for library in _libraries(source):
                self.add(Path(library), library)

    def link(self, path: str, target: str) -> None:
        if self._is_new(path):
            info = tarfile.TarInfo(path.strip("/"))
            info.type, info.linkname = tarfile.SYMTYPE, target
            self._tar.addfile(info)

    def _is_new(self, path: str) -> bool:
        path = path.strip("/")
        if path in self._seen:
            return False
        self._seen.add(path)
        self._folder(str(PurePosixPath(path).parent))
        return True

    def _folder(self, path: str) -> None:
        if path != "." and self._is_new(path):
            info = tarfile.TarInfo(path)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if path == "tmp" else 0o755
            self._tar.addfile(info)


def _add_text(tar: tarfile.TarFile, path: str, text: str) -> None:
    info = tarfile.TarInfo(path)
    info.size, info.mode = len(text.encode()), 0o644
    tar.addfile(info, io.BytesIO(text.encode()))


def _libraries(program: Path) -> list[str]:
    with program.open("rb") as file:
        if file.read(4) != b"\x7fELF":
            return []
    said = subprocess.run(["ldd", program], text=True, capture_output=True, check=False).stdout
    return _LIBRARY.findall(said)
