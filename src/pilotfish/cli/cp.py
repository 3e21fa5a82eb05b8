"""`pilotfish cp`."""

from __future__ import annotations

import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

import click

from pilotfish.cli import complete
from pilotfish.cli.failure import Failure
from pilotfish.cli.inside import surroundings
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import container_option, machine_option, namespace_option
from pilotfish.cli.session import Session, open_session, require_root
from pilotfish.cli.target import find_container, find_pod

if TYPE_CHECKING:
    from pilotfish.runtime.linux.process import ProcessSpec


@dataclass(frozen=True, slots=True)
class _Inside:
    """A place in a container."""

    spec: ProcessSpec
    pid: int | None
    path: PurePosixPath

    def run(self, *argv: str, stdin: int | None = None, stdout: int | None = None) -> subprocess.Popen[bytes]:
        from pilotfish.runtime.linux.process import spawn_in

        return spawn_in(self.spec, self.pid, argv, stdin=stdin, stdout=stdout)


@click.command("cp")
@click.argument("source", metavar="SOURCE", shell_complete=complete.copied)
@click.argument("target", metavar="TARGET", shell_complete=complete.copied)
@container_option
@namespace_option
@machine_option
def command(source: str, target: str, container: str | None, namespace: str | None, mesh: Meant) -> None:
    """Copy files and folders into a container, or out of it: one of the two is POD:PATH or NAMESPACE/POD:PATH.

    The container needs `tar`, which does the work there, as the container's user. A file of this machine whose name
    has a colon is written with a slash: ./a:b.
    """
    if _is_inside(source) == _is_inside(target):
        raise click.UsageError("one of the two, and not both, is a container's: POD:PATH")
    require_root("a pod's files and processes are other users'")
    session = open_session(mesh, namespace)
    if _is_inside(source):
        _copy_out(_open(session, source, container), Path(target))
    else:
        _copy_in(Path(source), _open(session, target, container))


def _is_inside(text: str) -> bool:
    head, colon, _ = text.partition(":")
    return bool(colon) and head.count("/") <= 1 and not head.startswith((".", "/"))


def _open(session: Session, text: str, container: str | None) -> _Inside:
    head, _, path = text.partition(":")
    place, slash, name = head.rpartition("/")
    pod = find_pod(session.client.status(), name, place if slash else session.namespace)
    if not path:
        raise click.UsageError(f"{text} names no path in the container")
    return _Inside(*surroundings(pod, find_container(pod, container)), PurePosixPath(path))


def _copy_in(source: Path, target: _Inside) -> None:
    if not source.exists():
        raise Failure(f"{source} does not exist, so nothing is copied")
    is_folder = target.run("test", "-d", str(target.path)).wait() == 0
    path = target.path / source.resolve().name if is_folder else target.path
    process = target.run("tar", "-xmf", "-", "-C", str(path.parent), stdin=subprocess.PIPE)
    if process.stdin is None:
        raise ValueError("it has a pipe")
    broken = False
    try:
        with process.stdin as stream, tarfile.open(fileobj=stream, mode="w|") as archive:
            archive.add(source, arcname=path.name)
    except BrokenPipeError:
        broken = True
    if process.wait() or broken:
        raise Failure(f"tar in the container failed with exit code {process.returncode}: not all was copied")


def _copy_out(source: _Inside, target: Path) -> None:
    name = source.path.name
    if not name:
        raise Failure(f"{source.path} has no name of its own; name a file or a folder in it")
    process = source.run("tar", "-cf", "-", "-C", str(source.path.parent), name, stdout=subprocess.PIPE)
    if process.stdout is None:
        raise ValueError("it has a pipe")
    where = target / name if target.is_dir() else target
    with process.stdout as stream:
        try:
            _extract(stream, name, where)
        except tarfile.ReadError as error:
            if process.wait():
                raise Failure(f"{source.path} can't be read in the container, so it is not copied") from error
            raise
    if process.wait():
        raise Failure(f"tar in the container failed with exit code {process.returncode}: not all was copied")


def _extract(stream: IO[bytes], name: str, where: Path) -> None:
    """Whatever the container sends, nothing is written but below `where`, and nothing but files, folders and links."""
    where.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in _renamed(archive, name, where.name):
            try:
                archive.extract(member, where.parent, filter="data")
            except tarfile.FilterError as error:
                click.echo(f"warning: {member.name} is left out: {error}", err=True)


def _renamed(archive: tarfile.TarFile, name: str, new: str) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        head, slash, rest = member.name.removeprefix("./").partition("/")
        if head == name:
            yield member.replace(name=f"{new}{slash}{rest}", deep=False)
