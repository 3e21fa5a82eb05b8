"""The image's files, from those of the machine that builds it; run by the Containerfile.

    rootfs.py system DIRECTORY PROGRAM      Python, what reads and writes rules, a shell, Envoy, the CNI program
    rootfs.py libraries DIRECTORY           what pilotfish needs of others
    rootfs.py own DIRECTORY                 pilotfish

A program comes with the shared libraries that the loader names for it, whatever the architecture. Modules of others
come compiled alone, as nobody reads their source in a container; our own come with it, for the lines of a traceback.
"""

from __future__ import annotations

import compileall
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

VENV = Path("/usr/lib/pilotfish")
PACKAGES = VENV / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
ENVOY = PACKAGES / "envoy" / "_bin" / "envoy"
PROGRAMS = ("iptables", "iptables-nft", "iptables-legacy", "nft", "ip", "busybox")
TABLES = ("iptables", "ip6tables")
STANDARD_UNUSED = (
    "config-*", "distutils", "ensurepip", "idlelib", "lib2to3", "pydoc*", "sqlite3", "test", "tkinter", "turtle*",
    "unittest", "venv", "curses", "dbm", "LICENSE.txt",
)  # fmt: skip
EXTENSIONS_UNUSED = (
    "_sqlite3*",
    "_curses*",
    "_dbm*",
    "_tkinter*",
    "readline*",
    "_test*",
    "_codecs_[!i]*",
    "audioop*",
    "nis*",
)
PACKAGES_UNUSED = (
    "pilotfish*", "pip", "pip-*", "setuptools", "setuptools-*", "_distutils_hack", "distutils-precedence.pth",
    "pkg_resources", "pycparser*", "cffi", "pygments/lexers", "pygments/styles", "pygments/formatters",
    "grpc/_cython/_credentials", "envoy/_bin", "**/tests", "**/*.pyi", "**/*.pyx", "**/*.pxd", "**/*.pxi",
)  # fmt: skip
_NOT_CHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH
ACCOUNTS = {
    "etc/passwd": "root:x:0:0:root:/:/bin/sh\nistio-proxy:x:1337:1337:pilotfish:/:/bin/sh\n",
    "etc/group": "root:x:0:\nistio-proxy:x:1337:\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


def build_system(root: Path, cni: Path) -> None:
    for directory in ("tmp", "run", "etc", "var", "usr/bin", "usr/sbin", "usr/lib"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "var/run").symlink_to("/run")
    for name, text in ACCOUNTS.items():
        (root / name).write_text(text)
    # Where all is below /usr, links lead there; elsewhere these are directories.
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if Path("/", name).is_symlink():
            (root / name).symlink_to(Path("/", name).readlink())
            (root / name).resolve().mkdir(parents=True, exist_ok=True)
    add_programs(root)
    add_python(root)
    copy(ENVOY, root)
    copy(Path("/etc/ssl/certs/ca-certificates.crt"), root)
    for name in ("protocols", "services"):
        if Path("/etc", name).exists():
            copy(Path("/etc", name), root)
    shutil.copy(cni, root / "usr/lib/pilotfish/pilotfish-cni")
    add_libraries(root)


def add_programs(root: Path) -> None:
    for name in PROGRAMS:
        copy(find_program(name), root)
    for name in (
        f"{table}{variant}{action}"
        for table in TABLES
        for variant in ("", "-nft", "-legacy")
        for action in ("", "-save", "-restore")
    ):
        copy_link(find_program(name), root)
    # Matches and targets, which iptables loads by name.
    modules = next(path for path in Path("/usr/lib").glob("**/xtables") if path.is_dir())
    shutil.copytree(modules, root / modules.relative_to("/"), symlinks=True)
    for applet in subprocess.check_output(["busybox", "--list"], text=True).split():
        link = root / "usr/bin" / applet
        if not link.exists() and not (root / "usr/sbin" / applet).exists():
            link.symlink_to("busybox")


def add_python(root: Path) -> None:
    """The interpreter, its library without what a server has no use for, and the environment's own links to it."""
    python = Path(sys.executable).resolve()
    copy(python, root)
    library = Path(sysconfig.get_path("stdlib"))
    copy_tree(library, root / library.relative_to("/"), STANDARD_UNUSED)
    dynamic = root / library.relative_to("/") / "lib-dynload"
    remove(dynamic, EXTENSIONS_UNUSED)
    to_compiled(root / library.relative_to("/"))
    binaries = root / VENV.relative_to("/") / "bin"
    binaries.mkdir(parents=True)
    for name in ("python", "python3"):
        (binaries / name).symlink_to(python)
    copy(VENV / "pyvenv.cfg", root)


def build_libraries(root: Path) -> None:
    target = root / PACKAGES.relative_to("/")
    copy_tree(PACKAGES, target, PACKAGES_UNUSED)
    for extension in target.rglob("*.so"):
        subprocess.run(["strip", "--strip-unneeded", extension], check=True)
    to_compiled(target)
    add_libraries(root)


def build_own(root: Path) -> None:
    target = root / PACKAGES.relative_to("/")
    target.mkdir(parents=True)
    for path in PACKAGES.glob("pilotfish*"):
        shutil.copytree(path, target / path.name, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(target, stripdir=str(root), quiet=1, invalidation_mode=_NOT_CHECKED)
    copy(VENV / "bin" / "pilotfish", root)


def to_compiled(directory: Path) -> None:
    """Modules alone, where their sources were (PEP 3147, "sourceless")."""
    for source in directory.rglob("*.py"):
        py_compile.compile(str(source), f"{source}c", source.name, doraise=True, invalidation_mode=_NOT_CHECKED)
        source.unlink()


def add_libraries(root: Path) -> None:
    """What the loader names for each program and module in `root`, and the loader."""
    found: set[Path] = set()
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink() and is_elf(path):
            found |= set(needed(path))
    for library in sorted(found):
        if not library.is_relative_to(VENV):
            copy(library, root)


def needed(path: Path) -> Iterable[Path]:
    done = subprocess.run(["ldd", path], capture_output=True, text=True, check=False)
    if "not found" in done.stdout and "pilotfish" not in str(path):
        raise SystemExit(f"{path}: {done.stdout}")
    for line in done.stdout.splitlines():
        words = line.replace("=>", " ").split()
        yield from (Path(word) for word in words[-2:-1] if word.startswith("/") and Path(word).exists())


def is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def find_program(name: str) -> Path:
    found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        raise SystemExit(f"{name} is missing")
    return Path(found)


def copy(path: Path, root: Path) -> None:
    """To the same place, at the end of whatever links lead to it there."""
    real = Path(os.path.realpath(path))
    at = root / real.relative_to("/")
    if not at.exists():
        at.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(real, at)
    if real != path:
        copy_link(path, root)


def copy_link(path: Path, root: Path) -> None:
    """A name for what is there already."""
    real = Path(os.path.realpath(path))
    at = root / os.path.realpath(path.parent).lstrip("/") / path.name
    at.parent.mkdir(parents=True, exist_ok=True)
    if not at.is_symlink() and not at.exists():
        at.symlink_to(real)


def copy_tree(source: Path, target: Path, unused: Iterable[str]) -> None:
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", "*.a"))
    remove(target, unused)


def remove(directory: Path, patterns: Iterable[str]) -> None:
    for pattern in patterns:
        for path in tuple(directory.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def main(what: str, root: str, *more: str) -> None:
    match what:
        case "system":
            build_system(Path(root), Path(*more))
        case "libraries":
            build_libraries(Path(root))
        case "own":
            build_own(Path(root))


if __name__ == "__main__":
    main(*sys.argv[1:])
