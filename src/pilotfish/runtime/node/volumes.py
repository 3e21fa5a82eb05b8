"""A pod's volumes on the disk. A changed ConfigMap or Secret is seen at once and as a whole, as in Kubernetes:

NAME/colour ─▶ ..data/colour      NAME/..data ─▶ ..2026_1/   (one rename moves ..data to the next version)
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pilotfish.node.projected import File
from pilotfish.node.volumes import ClaimedDir, EmptyDir, HostPath, Mount, VolumeContent, VolumeFiles
from pilotfish.runtime.linux.process import BindMount

_GROUP_READS = 0o440


def write_volumes(
    directory: Path, contents: Iterable[VolumeContent], group: int | None = None, private: Sequence[str] = ()
) -> None:
    """Each volume under `directory/NAME`. OSError where a hostPath is not what its type says, or is `private`.

    `group`, a pod's fsGroup, may read all of them but hostPaths, and write those that can be written.
    Source: SetVolumeOwnership in Kubernetes' pkg/volume/volume_linux.go
    """
    directory.mkdir(parents=True, exist_ok=True)
    # Nobody on the machine looks into another's Secrets; containers come here by their mounts alone.
    directory.chmod(0o700)
    for content in contents:
        if isinstance(content, VolumeFiles):
            write_files(directory / content.name, _written(content), group)
        elif isinstance(content, EmptyDir):
            _make_directory(directory / content.name, group)
        elif isinstance(content, ClaimedDir):
            _prepare_claim(content, group, private)
        else:
            prepare_host_path(content, private)


def _written(volume: VolumeFiles) -> Mapping[str, File]:
    """TypeError where a token lacks."""
    files = {path: file for path, file in volume.files.items() if isinstance(file, File)}
    if len(files) != len(volume.files):
        raise TypeError(f"tokens of volume {volume.name} are not made")
    return files


def _prepare_claim(claim: ClaimedDir, group: int | None, private: Sequence[str]) -> None:
    """What is there stays as it is, with whatever is in it."""
    path = Path(claim.path)
    _make_storage(path)
    if claim.bound is not None:
        prepare_host_path(claim.bound, private)
        if not path.exists():
            path.symlink_to(claim.bound.otherwise if _is_stood_in(claim.bound) else claim.bound.path)
    elif not path.exists():
        _make_directory(path, group)


def bind_mount(mount: Mount) -> BindMount:
    """With what stands for a directory of the machine where that is not there."""
    whole = mount.root or mount.source
    if not mount.otherwise or Path(whole).exists():
        return BindMount(mount.source, mount.target, mount.read_only, mount.root)
    source = mount.otherwise + mount.source.removeprefix(whole)
    return BindMount(source, mount.target, mount.read_only, mount.otherwise if mount.root else "")


def find_stood_in(contents: Iterable[VolumeContent]) -> tuple[str, ...]:
    """The paths that the machine lacks, and that something stands for."""
    paths = (content.bound if isinstance(content, ClaimedDir) else content for content in contents)
    return tuple(path.path for path in paths if isinstance(path, HostPath) and _is_stood_in(path))


def _is_stood_in(host: HostPath) -> bool:
    return bool(host.otherwise) and not Path(host.path).exists()


def _make_storage(path: Path) -> None:
    """What holds it: nobody on the machine looks into it."""
    path.parent.parent.mkdir(mode=0o700, exist_ok=True)
    path.parent.mkdir(mode=0o700, exist_ok=True)


def _make_directory(path: Path, group: int | None) -> None:
    """For anybody to write in."""
    path.mkdir(exist_ok=True)
    path.chmod(0o777)
    if group is not None:
        os.chown(path, -1, group)
        path.chmod(0o2777)


def write_files(root: Path, files: Mapping[str, File], group: int | None = None) -> bool:
    """True if they differ from what is there."""
    if group is not None:
        files = {path: File(file.content, file.mode | _GROUP_READS) for path, file in files.items()}
    if _read(root / "..data") == {path: (file.content, file.mode) for path, file in files.items()}:
        return False
    root.mkdir(parents=True, exist_ok=True)
    root.chmod(0o755)
    old = root / (root / "..data").readlink() if (root / "..data").is_symlink() else None
    number = int(old.name.rpartition("_")[2]) + 1 if old else 1
    new = root / f"..version_{number}"
    shutil.rmtree(new, ignore_errors=True)  # a disk that was full left half of one
    try:
        _write_version(new, files)
        if group is not None:
            for path in (new, *new.rglob("*")):
                os.chown(path, -1, group)
    except OSError:
        shutil.rmtree(new, ignore_errors=True)
        raise
    (root / "..data_tmp").unlink(missing_ok=True)
    (root / "..data_tmp").symlink_to(new.name)
    (root / "..data_tmp").replace(root / "..data")
    _link(root, files)
    if old:
        shutil.rmtree(old)
    return True


def prepare_host_path(volume: HostPath, private: Sequence[str] = ()) -> None:
    """Source: https://kubernetes.io/docs/concepts/storage/volumes/#hostpath-volume-types"""
    path = Path(volume.path)
    if any(path.resolve().is_relative_to(directory) for directory in private):
        raise PermissionError(f"hostPath {path} is what meshes keep for themselves, and no pod sees it; name another")
    if _is_stood_in(volume):
        _make_storage(Path(volume.otherwise))
        if not Path(volume.otherwise).exists():
            _make_directory(Path(volume.otherwise), None)
        return
    if volume.type == "DirectoryOrCreate":
        path.mkdir(mode=0o755, parents=True, exist_ok=True)
    elif volume.type == "FileOrCreate":
        path.touch(mode=0o644)
    wrong = (volume.type == "Directory" and not path.is_dir()) or (volume.type == "File" and not path.is_file())
    if wrong or not path.exists():
        raise FileNotFoundError(f"hostPath {path} is missing, or is not of type {volume.type or 'any'}")


def _read(version: Path) -> dict[str, tuple[bytes, int]] | None:
    if not version.exists():
        return None
    files = (path for path in version.rglob("*") if path.is_file())
    return {str(p.relative_to(version)): (p.read_bytes(), p.stat().st_mode & 0o7777) for p in files}


def _write_version(directory: Path, files: Mapping[str, File]) -> None:
    directory.mkdir(mode=0o755)
    for name, file in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.content)
        path.chmod(file.mode)


def _link(root: Path, files: Mapping[str, File]) -> None:
    """The names that a user sees; one that vanished goes."""
    wanted = {name.partition("/")[0] for name in files}
    for entry in list(root.iterdir()):
        if not entry.name.startswith("..") and entry.name not in wanted:
            entry.unlink()
    for name in wanted:
        if not (root / name).is_symlink():
            (root / name).symlink_to(f"..data/{name}")
