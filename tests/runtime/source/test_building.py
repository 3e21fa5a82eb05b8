"""Folders that a tool makes manifests of."""

from __future__ import annotations

from pathlib import Path

import pytest

from pilotfish.runtime.source.building import find_builder
from pilotfish.runtime.source.reading import Text, Unreadable


def tool(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs, and there are no others."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def kustomization(tmp_path: Path, name: str = "k", text: str = "resources: []\n") -> Path:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(text)
    return folder


def build(folder: Path) -> Text | Unreadable:
    builder = find_builder(folder)
    assert builder is not None
    return builder.build()


def test_a_folder_of_manifests_is_built_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text("")
    assert find_builder(tmp_path) is None
    assert find_builder(tmp_path / "mesh.yaml") is None


def test_whichever_tool_is_there(tmp_path: Path, tools: Path) -> None:
    folder = kustomization(tmp_path)
    missing = build(folder)
    assert isinstance(missing, Unreadable)
    assert "apt-get install kubernetes-client" in missing.message
    tool(tools, "kubectl", 'echo "by $0 $1"')
    assert build(folder) == Text.of(f"by {tools}/kubectl kustomize\n".encode())
    tool(tools, "kustomize", 'echo "by $0 $1"')
    assert build(folder) == Text.of(f"by {tools}/kustomize build\n".encode())


def test_a_chart(tmp_path: Path, tools: Path) -> None:
    folder = tmp_path / "My_Shop"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("name: shop\n")
    missing = build(folder)
    assert isinstance(missing, Unreadable)
    assert "install helm" in missing.message
    tool(tools, "helm", 'echo "$1 $2"')
    assert build(folder) == Text.of(b"template my-shop\n")
    builder = find_builder(folder)
    assert builder is not None
    assert set(builder.folders()) == {folder, folder / "templates"}


def test_what_the_tool_says_is_told(tmp_path: Path, tools: Path) -> None:
    tool(tools, "kustomize", "echo no such base >&2; exit 3")
    failed = build(kustomization(tmp_path))
    assert isinstance(failed, Unreadable)
    assert (failed.reason, "no such base" in failed.message) == ("Unbuildable", True)


def test_the_folders_that_it_is_made_of(tmp_path: Path) -> None:
    base = kustomization(tmp_path, "base", "resources: [../k, pod.yaml]\n")  # a ring
    folder = kustomization(tmp_path, "k", "resources: [../base, https://example.com/x]\ncomponents: [../gone]\n")
    builder = find_builder(folder)
    assert builder is not None
    assert set(builder.folders()) == {folder, base}
    (folder / "kustomization.yaml").write_text("[ no YAML")
    assert set(builder.folders()) == {folder}
