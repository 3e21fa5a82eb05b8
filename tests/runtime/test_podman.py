"""What podman is asked: of storages of our own, with either driver."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pilotfish.model.kinds import POD
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.images import podman as asked
from pilotfish.runtime.images.store import ImageError, Images
from tests.images import BUSYBOX, built_image, podman

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("podman") is None or not BUSYBOX.exists(),
    reason="podman, busybox-static or root is missing",
)
HOLDER, OTHER = POD.ref("default", "one"), POD.ref("default", "two")


@pytest.fixture(params=["overlay", "vfs"])
def image(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    configuration = tmp_path / "storage.conf"
    configuration.write_text(
        f'[storage]\ndriver = "{request.param}"\ngraphroot = "{tmp_path}/root"\nrunroot = "{tmp_path}/run"\n'
    )
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(configuration))
    with built_image(tmp_path, "app", 'ENTRYPOINT ["run"]\nUSER app\nSTOPSIGNAL 3\nVOLUME /data') as name:
        yield name


async def test_an_image_is_its_layers_and_its_configuration(image: str) -> None:
    found = await asked.find(["localhost/not-there:1", image])
    assert list(found) == [image]
    made = found[image]
    assert (made.entrypoint, made.user, made.stop, made.volumes) == (("run",), "app", 3, ("/data",))
    assert any(Path(layer, "srv/index.html").exists() for layer in made.layers)
    assert [listed.names for listed in await asked.every()] == [(image,)]


async def test_what_somebody_runs_is_kept_and_nothing_else(image: str) -> None:
    images = Images("podman-test", lambda _: None)
    try:
        found = await asyncio.gather(*(images.get(image, "Never", None, holder) for holder in (HOLDER, OTHER, HOLDER)))
        assert len({each.id for each in found}) == 1
        images.release(HOLDER)
        assert len(_kept()) == 1, "the other runs it"
        with pytest.raises(AssertionError, match="in use by a container"):
            podman("rmi", image)
        images.release(OTHER)
        while _kept():
            await asyncio.sleep(0.05)
        await images.get(image, "IfNotPresent", None, OTHER)
        assert len(_kept()) == 1
    finally:
        await images.close()
    assert _kept() == []


def _kept() -> list[str]:
    return podman("ps", "--all", "--quiet", "--filter", "label=io.pilotfish.mesh=podman-test").split()


async def test_one_that_is_not_there_is_said_in_kubelets_words(image: str) -> None:
    images = Images("podman-test", lambda _: None)
    with pytest.raises(ImageError) as raised:
        await images.get("localhost/not-there:1", "Never", None, HOLDER)
    assert raised.value.reason == "ErrImageNeverPull"
    for reason in ("ErrImagePull", "ImagePullBackOff"):
        with pytest.raises(ImageError) as raised:
            await images.get("127.0.0.1:9/not-there:1", "IfNotPresent", None, HOLDER)
        assert (raised.value.reason, "connection refused" in raised.value.message) == (reason, True)
    await images.close()


async def test_what_is_no_archive_is_not_loaded(image: str, tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no archive")
    for file in ("text.tar", "absent.tar"):
        with pytest.raises(MachineError, match=file):
            await asked.load(tmp_path / file)
