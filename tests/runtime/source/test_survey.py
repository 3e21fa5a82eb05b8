"""Where to look for what may make a file another."""

from __future__ import annotations

from pathlib import Path

from pilotfish.runtime.source.survey import find_places, survey


def below(folder: Path, paths: frozenset[Path]) -> set[str]:
    return {str(path.relative_to(folder)) for path in paths if path.is_relative_to(folder) and path != folder}


def test_every_link_on_the_way_counts_and_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "real" / "folder").mkdir(parents=True)
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to(tmp_path / "real/../real/folder")
    assert below(tmp_path, find_places(tmp_path / "one/file")) == {
        "one/file", "one", "two", "real", "real/folder", "real/folder/file",
    }  # fmt: skip


def test_what_is_not_there_counts_too(tmp_path: Path) -> None:
    assert below(tmp_path, find_places(tmp_path / "none/file")) == {"none", "none/file"}


def test_a_link_to_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "self").symlink_to("self/x")
    assert "self" in below(tmp_path, find_places(tmp_path / "self"))


def test_files_are_in_the_order_in_which_they_were_given_and_of_names(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("b.yaml", "a.json", "c.yml", ".hidden.yaml", "notes.txt"):
        (folder / name).touch()
    found = survey([tmp_path / "z", folder, folder / "b.yaml"])
    assert [path.name for path in found.files] == ["z", "a.json", "b.yaml", "c.yml"]
    assert {tmp_path, folder} <= found.directories
