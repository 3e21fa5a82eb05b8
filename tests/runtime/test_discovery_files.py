"""From files to what the user wants."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pilotfish.model.kinds import SERVICE
from pilotfish.runtime.discovery import debounce
from pilotfish.runtime.discovery.debounce import Debounce
from pilotfish.runtime.discovery.desired import Desired, merge
from pilotfish.runtime.discovery.files import Files
from pilotfish.runtime.discovery.source import Source


def service(name: str, port: int | str = 80) -> str:
    return (
        "apiVersion: v1\nkind: Service\n"
        f"metadata: {{name: {name}, namespace: vm}}\nspec: {{ports: [{{name: http, port: {port}}}]}}\n"
    )


def names(desired: Desired) -> list[str]:
    return sorted(ref.name for ref in desired.manifests)


def test_a_directory_is_read_with_those_in_it_and_without_hidden_files(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "a.yaml").write_text(service("a"))
    (tmp_path / "more" / "b.yml").write_text(service("b"))
    (tmp_path / ".c.yaml").write_text(service("c"))
    (tmp_path / "d.txt").write_text(service("d"))
    files = Files((tmp_path,))
    assert files.scan()
    assert names(merge(files.loaded, Desired())) == ["a", "b"]
    assert not files.scan(), "nothing has changed"
    assert files.directories() >= {tmp_path, tmp_path / "more"}


def test_only_what_changed_is_a_change(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a"))
    (tmp_path / "b.yaml").write_text(service("b"))
    files = Files((tmp_path,))
    files.scan()
    before = merge(files.loaded, Desired())
    (tmp_path / "a.yaml").write_text("# only a comment\n" + service("a") + "---\n" + service("c"))
    (tmp_path / "b.yaml").unlink()
    assert files.scan()
    changes = merge(files.loaded, before).changes_from(before)
    assert {ref.name: manifest is not None for ref, manifest in changes.items()} == {"b": False, "c": True}


def test_the_first_of_two_objects_of_one_name_holds(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(service("a", 80))
    (tmp_path / "b.yaml").write_text(service("a", 90))
    files = Files((tmp_path,))
    files.scan()
    desired = merge(files.loaded, Desired())
    assert desired.origins[SERVICE.ref("vm", "a")] == tmp_path / "a.yaml"
    assert [(p.reason, str(p.source)) for p in desired.problems] == [("DuplicateObject", f"{tmp_path}/b.yaml:1")]


def test_a_broken_object_and_an_unreadable_text_keep_what_was(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(service("a") + "---\n" + service("b"))
    source = Source((tmp_path,), None)
    source.read()
    good = source.desired
    path.write_text(service("a", "many") + "---\n" + service("b", 90))
    source.read()
    assert names(source.desired) == ["a", "b"]
    assert source.desired.manifests[SERVICE.ref("vm", "a")] == good.manifests[SERVICE.ref("vm", "a")]
    assert source.problems
    path.write_text(service("a") + "---\n: [}")
    source.read()
    assert names(source.desired) == ["a", "b"]
    path.write_text(service("a"))
    source.read()
    assert names(source.desired) == ["a"]
    assert not source.problems


async def test_a_source_tells_what_matters(tmp_path: Path) -> None:
    config = tmp_path / "elsewhere" / "mesh.conf"
    config.parent.mkdir()
    manifests = tmp_path / "manifests"
    manifests.mkdir()
    changed = asyncio.Event()
    source = Source((manifests,), config)
    source.watch(changed.set)
    try:

        async def noticed() -> None:
            async with asyncio.timeout(5):
                await changed.wait()
            changed.clear()

        (manifests / "notes.txt").write_text("of no concern")
        (manifests / ".a.yaml.swp").write_text("of no concern")
        (manifests / "new").mkdir()
        await asyncio.sleep(0.05)  # nothing is to happen
        assert not changed.is_set()
        (manifests / "new" / "a.yaml").write_text(service("a"))
        await noticed()
        config.write_text("accessLogFile: /dev/stdout")
        await noticed()
        source.read()
        assert names(source.desired) == ["a"]
        assert source.mesh_config.access_log_file == "/dev/stdout"
        (manifests / "new" / "a.yaml").unlink()
        await noticed()
        config.unlink()
        await noticed()
        source.read()
        assert names(source.desired) == []
        assert source.mesh_config.access_log_file == ""
    finally:
        source.close()


async def test_a_burst_is_one_and_a_storm_is_not_waited_out() -> None:
    bursts = Debounce()
    loop = asyncio.get_running_loop()
    began = loop.time()
    acted: list[float] = []

    async def act() -> None:
        async for _ in bursts:
            acted.append(loop.time() - began)  # noqa: PERF401

    acting = loop.create_task(act())
    try:
        for _ in range(5):
            bursts.poke()
        async with asyncio.timeout(5):
            while not acted:
                await asyncio.sleep(0.001)
        assert len(acted) == 1
        assert acted[0] >= debounce.QUIET
        storm = loop.time() - began
        async with asyncio.timeout(5):
            while len(acted) < 2:
                bursts.poke()
                await asyncio.sleep(0.001)
        assert debounce.LATEST <= acted[1] - storm < debounce.LATEST + 0.5
    finally:
        acting.cancel()
        await asyncio.gather(acting, return_exceptions=True)
