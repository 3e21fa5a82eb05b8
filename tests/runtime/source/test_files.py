"""What is heard of real files, however they are saved."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pilotfish import config
from pilotfish.config.loading import InPieces
from pilotfish.config.manifest import Loaded
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.source import Batch, origin, parsing, reading
from pilotfish.runtime.source import files as source_files
from pilotfish.runtime.source.files import Files
from pilotfish.runtime.source.reading import LARGEST, Content, Unreadable


def service(name: str) -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 80}}]}}\n"


def told(loaded: Loaded | None) -> str:
    """The names of the objects; `gone`; or why there are none."""
    if loaded is None:
        return "gone"
    if loaded.incomplete:
        return loaded.problems[0].reason
    names = [manifest.ref.name for manifest in loaded.manifests]
    return " ".join(names) if loaded.mesh_config is None else loaded.mesh_config.config.access_log_file


class Heard:
    def __init__(self, folder: Path, files: Files) -> None:
        self.files = files
        self._folder = folder

    async def batch(self) -> Batch:
        async with asyncio.timeout(5):
            return await self.files.next()

    async def next(self) -> dict[str, str]:
        """What the next batch tells, by the file's name below the test's folder."""
        news = (await self.batch()).news
        return {str(Path(name).relative_to(self._folder)): told(loaded) for name, loaded in news.items()}


Listen = Callable[..., Heard]


@pytest.fixture
async def listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Listen]:
    monkeypatch.setattr(origin, "GONE", 0.4)
    monkeypatch.setattr(origin, "RETRY", 0.1)
    opened: list[Files] = []

    def listen(*paths: Path, mesh_config: Path | None = None, recursive: bool = False) -> Heard:
        named = None if mesh_config is None else str(mesh_config)
        opened.append(Files(map(str, paths), named, recursive=recursive))
        return Heard(tmp_path, opened[-1])

    yield listen
    for files in opened:
        files.close()


async def test_saving_by_any_editor_is_heard(tmp_path: Path, listen: Listen) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yml"
    one.write_text(service("a"))
    (tmp_path / "notes.txt").write_text("no manifest")
    (tmp_path / ".one.yaml.swp").write_text("an editor's own")
    heard = listen(tmp_path)
    assert await heard.next() == {"one.yaml": "a"}
    one.write_text(service("b"))
    assert await heard.next() == {"one.yaml": "b"}
    beside = tmp_path / "one.yaml~"
    beside.write_text(service("c"))
    beside.replace(one)
    assert await heard.next() == {"one.yaml": "c"}, "saved by renaming"
    two.write_text(service("x"))
    assert await heard.next() == {"two.yml": "x"}, "a new file"
    one.rename(beside)
    await asyncio.sleep(0.05)
    one.write_text(service("d"))
    assert await heard.next() == {"one.yaml": "d"}, "moved away and written anew, as vim does it"
    one.write_text("")
    await asyncio.sleep(0.05)
    one.write_text(service("e"))
    assert await heard.next() == {"one.yaml": "e"}, "emptied first"
    two.write_text(service("x"))
    await asyncio.sleep(0.05)
    one.unlink()
    assert await heard.next() == {"one.yaml": "gone"}, "and the same text again is no news"
    two.write_text("")
    assert await heard.next() == {"two.yml": ""}, "emptied, and meant so"


async def test_what_is_saved_together_is_told_together(tmp_path: Path, listen: Listen) -> None:
    for name in "abc":
        (tmp_path / f"{name}.yaml").write_text(service(name))
    heard = listen(tmp_path)
    assert list(await heard.next()) == ["a.yaml", "b.yaml", "c.yaml"]
    began = asyncio.get_running_loop().time()
    (tmp_path / "c.yaml").write_text(service("x"))
    (tmp_path / "a.yaml").write_text(service("y"))
    batch = await heard.batch()
    assert {Path(name).name: told(loaded) for name, loaded in batch.news.items()} == {"a.yaml": "y", "c.yaml": "x"}
    assert began <= batch.since <= asyncio.get_running_loop().time()


async def test_a_file_is_read_when_its_writer_is_done(tmp_path: Path, listen: Listen) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text(service("a"))
    two.write_text(service("x"))
    heard = listen(tmp_path)
    await heard.next()
    with one.open("w") as writing, (tmp_path / "new.yaml").open("w") as new:
        for slow in (writing, new):
            slow.write(service("half"))
            slow.flush()
        two.write_text(service("y"))
        assert await heard.next() == {"two.yaml": "y"}
        writing.write("---\n" + service("whole"))
    assert await heard.next() == {"new.yaml": "half", "one.yaml": "half whole"}


async def test_a_single_file_is_watched_though_renamed_over(tmp_path: Path, listen: Listen) -> None:
    path = tmp_path / "mesh.yaml"
    path.write_text(service("a"))
    (tmp_path / "other.yaml").write_text("nobody asked")
    heard = listen(path)
    assert await heard.next() == {"mesh.yaml": "a"}
    for name in "bcd":
        beside = tmp_path / "new"
        beside.write_text(service(name))
        beside.replace(path)
        assert await heard.next() == {"mesh.yaml": name}


async def test_what_a_link_leads_to_is_watched(tmp_path: Path, listen: Listen) -> None:
    folder, real = tmp_path / "folder", tmp_path / "elsewhere" / "real"
    folder.mkdir()
    real.parent.mkdir()
    real.write_text(service("a"))
    (folder / "mesh.yaml").symlink_to("../elsewhere/real")
    heard = listen(folder)
    assert await heard.next() == {"folder/mesh.yaml": "a"}
    real.write_text(service("b"))
    assert await heard.next() == {"folder/mesh.yaml": "b"}
    (real.parent / "next").write_text(service("c"))
    (folder / "beside").symlink_to("../elsewhere/next")
    (folder / "beside").replace(folder / "mesh.yaml")
    assert await heard.next() == {"folder/mesh.yaml": "c"}, "the link leads elsewhere"
    (real.parent / "next").write_text(service("d"))
    assert await heard.next() == {"folder/mesh.yaml": "d"}


async def test_a_file_that_becomes_a_link_is_watched_where_it_leads(tmp_path: Path, listen: Listen) -> None:
    folder, real = tmp_path / "folder", tmp_path / "real"
    folder.mkdir()
    (folder / "mesh.yaml").write_text(service("a"))
    real.write_text(service("b"))
    heard = listen(folder)
    await heard.next()
    (folder / "beside").symlink_to(real)
    (folder / "beside").replace(folder / "mesh.yaml")
    assert await heard.next() == {"folder/mesh.yaml": "b"}
    real.write_text(service("c"))
    assert await heard.next() == {"folder/mesh.yaml": "c"}


async def test_a_config_map_volume_changes_as_a_whole(tmp_path: Path, listen: Listen) -> None:
    """Kubernetes moves the link `..data`, to which those of the files lead."""
    for version in ("..1", "..2"):
        (tmp_path / version).mkdir()
        for name in "ab":
            (tmp_path / version / f"{name}.yaml").write_text(service(name + version.strip(".")))
    (tmp_path / "..data").symlink_to("..1")
    for name in "ab":
        (tmp_path / f"{name}.yaml").symlink_to(f"..data/{name}.yaml")
    heard = listen(tmp_path)
    assert await heard.next() == {"a.yaml": "a1", "b.yaml": "b1"}
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    assert await heard.next() == {"a.yaml": "a2", "b.yaml": "b2"}


@pytest.mark.parametrize("what", ["the folder", "what holds it"])
async def test_a_link_to_the_folder_may_lead_elsewhere(tmp_path: Path, listen: Listen, what: str) -> None:
    for version in "12":
        (tmp_path / version / "folder").mkdir(parents=True)
        (tmp_path / version / "folder/mesh.yaml").write_text(service(f"a{version}"))
    target = "{}/folder" if what == "the folder" else "{}"
    link, below = tmp_path / "current", "" if what == "the folder" else "/folder"
    link.symlink_to(target.format(1))
    heard = listen(Path(f"{link}{below}"))
    assert await heard.next() == {f"current{below}/mesh.yaml": "a1"}
    (tmp_path / "next").symlink_to(target.format(2))
    (tmp_path / "next").replace(link)
    assert await heard.next() == {f"current{below}/mesh.yaml": "a2"}
    (tmp_path / "2/folder/mesh.yaml").write_text(service("b"))
    assert await heard.next() == {f"current{below}/mesh.yaml": "b"}


@pytest.mark.parametrize("what", ["moved", "removed", "removed with what holds it"])
async def test_a_folder_that_comes_anew_is_watched_anew(tmp_path: Path, listen: Listen, what: str) -> None:
    """As when another branch is checked out."""
    folder = tmp_path / "repository" / "folder"
    folder.mkdir(parents=True)
    (folder / "mesh.yaml").write_text(service("a"))
    heard = listen(folder)
    name = "repository/folder/mesh.yaml"
    assert await heard.next() == {name: "a"}
    if what == "moved":
        folder.rename(tmp_path / "away")
    else:
        shutil.rmtree(folder if what == "removed" else folder.parent)
    assert await heard.next() == {name: "gone"}
    folder.mkdir(parents=True)
    (folder / "mesh.yaml").write_text(service("b"))
    assert await heard.next() == {name: "b"}
    (folder / "mesh.yaml").write_text(service("c"))
    assert await heard.next() == {name: "c"}


async def test_folders_below_are_read_where_that_is_asked(tmp_path: Path, listen: Listen) -> None:
    for folder in ("below/deep", "folder.yaml", ".hidden"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "mesh.yaml").write_text(service("a"))
    (tmp_path / "top.yaml").write_text(service("top"))
    (tmp_path / "loop").symlink_to(tmp_path)
    assert await listen(tmp_path).next() == {"top.yaml": "top"}
    heard = listen(tmp_path, recursive=True)
    assert await heard.next() == {"top.yaml": "top", "below/deep/mesh.yaml": "a", "folder.yaml/mesh.yaml": "a"}
    (tmp_path / "below" / "new").mkdir()
    (tmp_path / "below" / "new" / "mesh.yaml").write_text(service("b"))
    assert await heard.next() == {"below/new/mesh.yaml": "b"}
    shutil.rmtree(tmp_path / "below")
    assert await heard.next() == {"below/deep/mesh.yaml": "gone", "below/new/mesh.yaml": "gone"}


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def _large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(LARGEST + 1)


def _dangling(path: Path) -> None:
    path.symlink_to("nowhere")


STRANGE = {
    "a named pipe": (os.mkfifo, "NotAFile"),
    "a socket": (_socket, "NotAFile"),
    "a device": (_device, "NotAFile"),
    "a large file": (_large, "TooLarge"),
    "a link that leads nowhere": (_dangling, "DanglingLink"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "DanglingLink"),
}


@pytest.mark.parametrize(("make", "reason"), STRANGE.values(), ids=STRANGE)
async def test_what_is_no_file_harms_no_other(
    tmp_path: Path, listen: Listen, make: Callable[[Path], None], reason: str
) -> None:
    strange, good = tmp_path / "a.yaml", tmp_path / "b.yaml"
    make(strange)
    good.write_text(service("b"))
    heard = listen(tmp_path)
    assert await heard.next() == {"a.yaml": reason, "b.yaml": "b"}
    good.write_text(service("c"))
    assert await heard.next() == {"b.yaml": "c"}
    strange.unlink()
    assert await heard.next() == {"a.yaml": "gone"}
    strange.write_text(service("a"))
    assert await heard.next() == {"a.yaml": "a"}


async def test_what_is_no_file_any_more_is_said_by_its_name(tmp_path: Path, listen: Listen) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(service("a"))
    heard = listen(tmp_path)
    await heard.next()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "pipe").replace(path)
    loaded = (await heard.batch()).news[str(path)]
    assert loaded is not None
    assert loaded.incomplete, "what it held may still be meant"
    assert str(loaded.problems[0]).startswith(f"{path}:1: error: it is a named pipe")


async def test_permissions_that_were_mended_are_noticed(
    tmp_path: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_file(path: Path) -> Content:
        return Unreadable("Unreadable", "no permission") if path in forbidden else reading.read_file(path)

    monkeypatch.setattr(source_files, "read_file", read_file)  # root may read everything
    for name in "ab":
        (tmp_path / f"{name}.yaml").write_text(service(name))
    forbidden = {tmp_path / "a.yaml"}
    heard = listen(tmp_path)
    assert await heard.next() == {"a.yaml": "Unreadable", "b.yaml": "b"}
    forbidden.clear()
    assert await heard.next() == {"a.yaml": "a"}


async def test_a_mesh_config_is_read_as_one_and_may_come_later(tmp_path: Path, listen: Listen) -> None:
    config, folder = tmp_path / "elsewhere" / "mesh.conf", tmp_path / "folder"
    config.parent.mkdir()
    folder.mkdir()
    (folder / "a.yaml").write_text(service("a"))
    heard = listen(folder, mesh_config=config)
    assert await heard.next() == {"folder/a.yaml": "a"}
    config.write_text("accessLogFile: /dev/stdout")
    assert await heard.next() == {"elsewhere/mesh.conf": "/dev/stdout"}
    config.write_text("accessLogFlie: /dev/stdout")
    assert await heard.next() == {"elsewhere/mesh.conf": "UnknownField"}
    config.unlink()
    assert await heard.next() == {"elsewhere/mesh.conf": "gone"}


async def test_a_mesh_config_among_the_manifests_is_no_manifest(tmp_path: Path, listen: Listen) -> None:
    config = tmp_path / "mesh.yaml"
    config.write_text("accessLogFile: /dev/stdout")
    assert await listen(tmp_path, mesh_config=config).next() == {"mesh.yaml": "/dev/stdout"}


async def test_of_a_folder_and_one_in_it_a_file_is_named_by_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "one.yaml").write_text(service("one"))
    (tmp_path / "more" / "two.yaml").write_text(service("two"))
    monkeypatch.chdir(tmp_path)
    files = Files([".", "more"])
    try:
        assert set((await files.next()).news) == {"./one.yaml", "more/two.yaml"}
    finally:
        files.close()


async def test_standard_input() -> None:
    files = Files(["-"], stdin=service("a"))
    try:
        assert {name: told(loaded) for name, loaded in (await files.next()).news.items()} == {"-": "a"}
    finally:
        files.close()


_READ = """
import asyncio
from pilotfish.runtime.source.files import Files

async def read():
    async with asyncio.timeout(SECONDS):
        print([m.ref.name for loaded in (await Files(["-"]).next()).news.values() for m in loaded.manifests])

asyncio.run(read())
"""


def test_standard_input_is_read_to_its_end() -> None:
    code = _READ.replace("SECONDS", "10")
    done = subprocess.run([sys.executable, "-c", code], input=service("a"), capture_output=True, text=True, check=True)
    assert done.stdout == "['a']\n"


def test_a_terminal_where_nobody_types_holds_up_nothing() -> None:
    code = _READ.replace("SECONDS", "0.1")
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            process.wait(10)
        finally:
            process.kill()
        assert process.stderr is not None
        assert process.stderr.read().strip().endswith(b"TimeoutError")


async def test_what_cannot_be_a_source_is_refused(tmp_path: Path, listen: Listen) -> None:
    with pytest.raises(MachineError, match=r"none.yaml does not exist; give a manifest file"):
        await listen(tmp_path / "none.yaml").next()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MachineError, match=r"pipe is neither a file nor a folder; pipe its text into `-`"):
        await listen(tmp_path / "pipe").next()
    assert await listen(tmp_path).next() == {}, "a folder may be filled later"


async def test_a_fault_of_ours_stays_with_the_file_that_led_to_it(
    tmp_path: Path, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_in_pieces(text: str, file: str, namespace: str) -> InPieces[Loaded]:
        if "bad" in file:
            raise RuntimeError("never thought of")
        return config.load_in_pieces(text, file, namespace)

    monkeypatch.setattr(parsing, "load_in_pieces", load_in_pieces)
    for name in ("bad", "good"):
        (tmp_path / f"{name}.yaml").write_text(service(name))
    assert await listen(tmp_path).next() == {"bad.yaml": "InternalError", "good.yaml": "good"}
