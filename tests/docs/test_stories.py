"""What the stories of examples/stories say of manifests alone; tests/e2e/test_stories.py follows all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.replay import Call, calls, fits

STORIES = Path(__file__).parents[2] / "examples" / "stories"
FOLDERS = sorted(path for path in STORIES.iterdir() if path.is_dir())
OFFLINE = [
    pytest.param(folder, call, id=folder.name)
    for folder in FOLDERS
    for call in calls((folder / "README.md").read_text())
    if " -f mesh.yaml" in call.command and call.expected is not None
]


@pytest.mark.parametrize(("folder", "call"), OFFLINE)
def test_what_a_story_says_of_its_manifests(folder: Path, call: Call) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1"}
    done = subprocess.run(
        ["bash", "-ec", call.command], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    assert call.expected is not None
    assert fits(done.stdout, call.expected), done.stdout


def test_every_story_is_listed_and_all_but_one_can_be_told_without_a_mesh() -> None:
    text = (STORIES / "README.md").read_text()
    assert [folder.name for folder in FOLDERS if f"({folder.name})" not in text] == []
    told = {param.id for param in OFFLINE}
    assert {folder.name for folder in FOLDERS} - told == {"loopback-server"}


@pytest.mark.parametrize(
    ("answer", "expected", "holds"),
    [
        ("a b\n", "a b\n", True),
        ("a x b\n", "a ... b\n", True),
        ("a x\ny b\n", "a ... b\n", False),
        ("a\nx\ny\nb\n", "a\n...\nb\n", True),
        ("a\nb\n", "a\n...\nb\n", True),
        ("a\nb\nc\n", "a\n...\nb\n", False),
        ("a.b\n", "a+b\n", False),
    ],
)
def test_dots_stand_for_what_differs_each_time(answer: str, expected: str, holds: bool) -> None:
    assert fits(answer, expected) is holds
