"""An image's files as a container's root: by folders as layers, without podman."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from pilotfish.model import capabilities
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.pidns import PidNs
from pilotfish.runtime.linux.process import (
    PIPE,
    STDOUT,
    Account,
    BindMount,
    ImageRoot,
    LaunchError,
    ProcessSpec,
    start,
)
from tests.images import BUSYBOX

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
    pytest.mark.skipif(not BUSYBOX.exists(), reason="busybox-static is missing"),
]
PASSWD = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\nodd:x:not-a-number:1::/:\n"
GROUP = "root:x:0:\nstaff:x:50:app,other\napp:x:1001:\n"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A layer with busybox."""
    layer = tmp_path / "base"
    (layer / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, layer / "bin" / "busybox")
    (layer / "bin" / "sh").symlink_to("busybox")
    (layer / "etc").mkdir()
    (layer / "etc" / "passwd").write_text(PASSWD)
    (layer / "etc" / "group").write_text(GROUP)
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    return layer


@pytest.fixture
def writable(tmp_path: Path) -> Path:
    made = tmp_path / "writable"
    for name in ("upper", "work"):
        (made / name).mkdir(parents=True)
    return made


@pytest_asyncio.fixture
async def pidns(netns: NetNs) -> AsyncIterator[PidNs]:
    made = await PidNs.create(netns)
    yield made
    made.kill()
    await made.ended()
    made.close()


@pytest.fixture
def spec(base: Path, writable: Path, netns: NetNs, pidns: PidNs) -> ProcessSpec:
    return ProcessSpec(
        argv=("sh", "-ec", "id -u"),
        env={"PATH": "/bin"},
        account=Account(""),
        root=ImageRoot((str(base),), str(writable)),
        bounding=capabilities.DEFAULT,
        netns=netns,
        pidns=pidns.descriptor,
        stdout=PIPE,
        stderr=STDOUT,
    )


async def output(spec: ProcessSpec, script: str) -> str:
    applets = 'for each in id ls cat env mkdir touch pwd stat rm; do alias $each="busybox $each"; done\n'
    process = await start(replace(spec, argv=("sh", "-ec", applets + script)))
    assert process.stdout is not None
    text = (await process.stdout.read()).decode().strip()
    assert await process.wait() == 0, text
    return text


async def test_upper_layers_lie_over_lower_ones(spec: ProcessSpec, base: Path, tmp_path: Path, writable: Path) -> None:
    upper = tmp_path / "second"
    (upper / "etc").mkdir(parents=True)
    (upper / "etc" / "name").write_text("second")
    (base / "etc" / "name").write_text("first")
    (base / "etc" / "gone").write_text("x")
    os.mknod(upper / "etc" / "gone", stat.S_IFCHR | 0o600, os.makedev(0, 0))  # how an overlay says: removed
    root = ImageRoot((str(upper), str(base)), str(writable))
    said = await output(replace(spec, root=root), "cat /etc/name; ls /etc; echo mine > /etc/name")
    assert said == "secondgroup\nname\npasswd"
    assert (upper / "etc" / "name").read_text() == "second"
    assert (writable / "upper" / "etc" / "name").read_text() == "mine\n"


async def test_many_layers_are_no_matter(spec: ProcessSpec, base: Path, tmp_path: Path, writable: Path) -> None:
    layers = []
    for number in range(125):
        layer = tmp_path / f"a-layer-with-a-name-as-long-as-podman-s-are-{number:03}"
        layer.mkdir()
        (layer / f"file{number}").touch()
        layers.append(str(layer))
    root = ImageRoot((*layers, str(base)), str(writable))
    assert (await output(replace(spec, root=root), "ls /")).count("file") == 125


async def test_what_is_written_may_lie_in_an_overlay_itself(spec: ProcessSpec, base: Path, tmp_path: Path) -> None:
    """As where the mesh itself runs in a container."""
    for name in ("l", "u", "w", "merged"):
        (tmp_path / name).mkdir()
    options = f"lowerdir={tmp_path}/l,upperdir={tmp_path}/u,workdir={tmp_path}/w"
    merged = tmp_path / "merged"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], check=True)
    try:
        for name in ("upper", "work"):
            (merged / name).mkdir()
        root = ImageRoot((str(base),), str(merged))
        assert await output(replace(spec, root=root), "echo x > /file; cat /file") == "x"
    finally:
        subprocess.run(["umount", merged], check=True)


USERS = [
    (Account(""), "0 0 0 /root"),
    (Account("app"), "1000 1001 1001 50 /home/app"),
    (Account("1000"), "1000 1001 1001 50 /home/app"),
    (Account("app:staff"), "1000 50 50 /home/app"),
    (Account("app", 7), "1000 7 7 50 /home/app"),
    (Account("4321"), "4321 0 0 /"),
    (Account("4321:9"), "4321 9 9 /"),
]


@pytest.mark.parametrize(("account", "expected"), USERS)
async def test_users_are_the_images(spec: ProcessSpec, account: Account, expected: str) -> None:
    said = await output(replace(spec, account=account), "id -u; id -g; id -G; echo $HOME")
    assert " ".join(said.split()) == expected


@pytest.mark.parametrize("account", [Account("nobody-here"), Account("app:nobody"), Account("odd")])
async def test_a_user_that_the_image_does_not_have_is_named(spec: ProcessSpec, account: Account) -> None:
    with pytest.raises(LaunchError, match=r"can't be found in the image's /etc/passwd"):
        await start(replace(spec, account=account))


async def test_a_strange_list_of_users_holds_up_nobody(spec: ProcessSpec, base: Path) -> None:
    (base / "etc" / "passwd").unlink()
    os.mkfifo(base / "etc" / "passwd")
    (base / "etc" / "group").unlink()
    (base / "etc" / "group").symlink_to("/dev/zero")
    said = await output(replace(spec, account=Account("5")), "busybox grep Uid /proc/self/status")
    assert said.split() == ["Uid:", "5", "5", "5", "5"]


async def test_links_of_the_image_lead_nowhere_on_the_machine(spec: ProcessSpec, base: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (base / "data").symlink_to(outside)
    (base / "etc" / "resolv.conf").symlink_to("../../../../../../../../../etc/hostname")
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "word").write_text("seen")
    mounts = (
        BindMount(str(tmp_path / "volume"), "/data/inner"),
        BindMount(str(tmp_path / "volume" / "word"), "/etc/resolv.conf"),
    )
    spec = replace(spec, mounts=mounts, cwd="/data/folder")
    said = await output(spec, f"cat /data/inner/word {outside}/inner/word /etc/resolv.conf; pwd")
    assert said == f"seenseenseen{outside}/folder"
    assert list(outside.iterdir()) == []


async def test_a_volume_over_everything_hides_nothing_that_starting_needs(spec: ProcessSpec, tmp_path: Path) -> None:
    """Over the launcher's own files, too."""
    targets = ("/tmp", "/usr", "/etc", "/dev/shm", str(Path(__file__).parents[2]))
    sources = [tmp_path / f"empty{number}" for number in range(len(targets))]
    for source in sources:
        source.mkdir()
    mounts = tuple(BindMount(str(source), target) for source, target in zip(sources, targets, strict=True))
    spec = replace(spec, mounts=mounts, account=Account("5"))
    assert await output(spec, "id -u; ls /etc") == "5"


async def test_nothing_of_it_is_mounted_on_the_machine(spec: ProcessSpec, tmp_path: Path) -> None:
    process = await start(replace(spec, argv=("busybox", "sleep", "1000")))
    try:
        assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
        beside = replace(spec, root=None, beside=process.pid)
        (Path(f"/proc/{process.pid}/root/word")).write_text("seen")
        assert await output(beside, "cat /word") == "seen"
    finally:
        process.signal(9)
        await process.wait()


async def test_who_looks_beside_a_process_that_has_ended_is_told(spec: ProcessSpec) -> None:
    process = await start(replace(spec, argv=("busybox", "true")))
    await process.wait()
    with pytest.raises(LaunchError, match="has ended"):
        await start(replace(spec, root=None, beside=process.pid))


async def test_a_sub_path_that_is_not_there_is_made_as_open_as_its_volume(spec: ProcessSpec, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    mount = BindMount(str(volume / "a" / "b"), "/data", root=str(volume))
    await output(replace(spec, mounts=(mount,), account=Account("5")), "echo x > /data/file")
    assert (volume / "a" / "b" / "file").stat().st_uid == 5


async def test_a_sub_path_is_made_beyond_no_link(spec: ProcessSpec, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (tmp_path / "outside").mkdir()
    (volume / "a").symlink_to(tmp_path / "outside")
    with pytest.raises(LaunchError, match=r"volume at .* can't be mounted"):
        await start(replace(spec, mounts=(BindMount(str(volume / "a" / "b"), "/data", root=str(volume)),)))
    assert list((tmp_path / "outside").iterdir()) == []
