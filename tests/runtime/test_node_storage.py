"""The directories of claims, and tokens in volumes."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from pilotfish.config import load
from pilotfish.config.kubernetes import ClaimVolume, Container, PodSpec, Volume
from pilotfish.model.kinds import POD
from pilotfish.node import store as storing
from pilotfish.node.identity import PodIdentity
from pilotfish.node.projected import File, TokenFile
from pilotfish.node.store import Store
from pilotfish.node.volumes import ClaimedDir, HostPath, Mount, VolumeFiles
from pilotfish.runtime.linux.process import BindMount
from pilotfish.runtime.node.storage import ClaimDirectories
from pilotfish.runtime.node.token_files import TokenFiles
from pilotfish.runtime.node.tokens import TokenMaker
from pilotfish.runtime.node.volumes import bind_mount, find_stood_in, write_volumes

IDENTITY = PodIdentity(POD.ref("default", "web-0"), "u", {}, {}, PodSpec(containers=()), ("10.0.0.1",), "", "", "", "")


def test_a_claim_is_a_directory_that_keeps_what_is_in_it(tmp_path: Path) -> None:
    claim = ClaimedDir("data", str(tmp_path / "storage" / "claims" / "vm.data"))
    write_volumes(tmp_path / "volumes", (claim,), group=4321)
    path = Path(claim.path)
    assert (path.stat().st_mode & 0o7777, path.stat().st_gid) == (0o2777, 4321)
    (path / "file").write_text("kept")
    path.chmod(0o700)  # as a database does it
    write_volumes(tmp_path / "volumes", (claim,), group=4321)
    assert ((path / "file").read_text(), path.stat().st_mode & 0o777) == ("kept", 0o700)
    assert (tmp_path / "storage" / "claims").stat().st_mode & 0o777 == 0o700


def test_a_bound_claim_is_the_machines_directory(tmp_path: Path) -> None:
    there, private = tmp_path / "there", tmp_path / "meshes"
    private.mkdir()
    claim = ClaimedDir("data", str(tmp_path / "storage" / "claims" / "vm.data"), HostPath("data", str(there), ""))
    with pytest.raises(FileNotFoundError):
        write_volumes(tmp_path / "volumes", (claim,))
    there.mkdir()
    write_volumes(tmp_path / "volumes", (claim,))
    assert Path(claim.path).resolve() == there
    hidden = replace(claim, bound=HostPath("data", str(private), ""))
    with pytest.raises(PermissionError):
        write_volumes(tmp_path / "volumes", (hidden,), private=(str(private),))


def test_what_the_machine_lacks_is_stood_in_for(tmp_path: Path) -> None:
    there, otherwise = tmp_path / "there", tmp_path / "storage" / "host" / "there"
    host = HostPath("data", str(there), "", str(otherwise))
    mount = Mount(f"{there}/in", "/data", False, str(there), str(otherwise))
    write_volumes(tmp_path / "volumes", (host,))
    assert otherwise.is_dir()
    assert not there.exists()
    assert find_stood_in((host,)) == (str(there),)
    assert bind_mount(mount) == BindMount(f"{otherwise}/in", "/data", False, str(otherwise))
    claim = ClaimedDir("data", str(tmp_path / "storage" / "claims" / "vm.data"), host)
    write_volumes(tmp_path / "volumes", (claim,))
    assert Path(claim.path).resolve() == otherwise
    there.mkdir()
    assert bind_mount(mount) == BindMount(f"{there}/in", "/data", False, str(there))


async def test_what_a_claim_leaves_goes_when_no_pod_has_it(tmp_path: Path) -> None:
    claims = ClaimDirectories(tmp_path)
    text = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data}\n"
    store, _ = storing.apply(Store(), load(text, "-"), 1.0)
    (tmp_path / "default.data").mkdir()
    (tmp_path / "default.data" / "file").touch()
    holder = replace(IDENTITY, spec=with_claim("data"))
    claims.sweep(store, [holder])
    store, _ = storing.delete(store, list(store.objects))
    claims.sweep(store, [holder])
    assert (tmp_path / "default.data" / "file").exists()
    claims.sweep(store, [])
    assert not (tmp_path / "default.data").exists(), "at once: another claim of the name begins anew"
    await claims.close()
    assert list(tmp_path.iterdir()) == []


def with_claim(name: str) -> PodSpec:
    volume = Volume(name="data", persistent_volume_claim=ClaimVolume(claim_name=name))
    return PodSpec(containers=(Container(name="app", command=("x",)),), volumes=(volume,))


def test_a_token_is_made_anew_when_most_of_its_time_has_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1_800_000_000.0
    monkeypatch.setattr(time, "time", lambda: clock)
    files = TokenFiles(IDENTITY, TokenMaker(tmp_path, ""))
    assert files.renewed_at is None

    def token() -> bytes:
        (volume,) = files.fill([VolumeFiles("about", {"token": TokenFile("vault", 600, 0o600)})])
        assert isinstance(volume, VolumeFiles)
        file = volume.files["token"]
        assert isinstance(file, File)
        return file.content

    first = token()
    assert files.renewed_at == clock + 480
    clock += 479
    assert token() == first
    clock += 1
    assert token() != first
    assert files.renewed_at == clock + 480
