"""Folders whose manifests a tool makes out of what is in them: kustomizations, and Helm charts. Blocks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pilotfish.runtime.source.reading import LARGEST, Text, Unreadable

_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_TIMEOUT = 60.0
"""Seconds that a tool gets: a kustomization may name others, which it fetches."""
_MOST_FOLDERS = 1000


@dataclass(frozen=True, slots=True)
class Builder:
    """Of one folder."""

    folder: Path
    file: str
    """The one in it that says so: `kustomization.yaml`, `Chart.yaml`."""
    what: str
    """`kustomization` or `Helm chart`."""
    commands: tuple[tuple[str, ...], ...]
    """Each of which does; the first whose program is there is used."""
    remedy: str
    """What to do where none is."""

    @property
    def command(self) -> tuple[str, ...] | None:
        return next((command for command in self.commands if shutil.which(command[0])), None)

    def folders(self) -> tuple[Path, ...]:
        """Where something can change that makes the manifests others, as far as it lies on this machine."""
        return tuple(_subfolders(self.folder) if self.what == "Helm chart" else _bases(self.folder))

    def build(self) -> Text | Unreadable:
        """The manifests as one text."""
        kept = "so that its objects stay as they were"
        command = self.command
        if command is None:
            return Unreadable(
                "Unbuildable", f"it is a {self.what}, and what builds one is not there, {kept}; {self.remedy}"
            )
        said = " ".join(command)
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT)
        except (OSError, subprocess.TimeoutExpired) as error:
            return Unreadable("Unbuildable", f"'{said}' failed: {error}, {kept}")
        if done.returncode:
            why = " ".join(done.stderr.decode(errors="replace").split())[-1000:]
            return Unreadable("Unbuildable", f"'{said}' failed: {why}, {kept}; mend what it says")
        if len(done.stdout) > LARGEST:
            return Unreadable("TooLarge", f"what '{said}' makes is larger than {LARGEST >> 20} MiB, {kept}")
        return Text.of(done.stdout)


def find_builder(folder: Path) -> Builder | None:
    """None for a folder whose files are manifests themselves, and for what is no folder."""
    file = next((name for name in _KUSTOMIZATIONS if (folder / name).is_file()), None)
    if file is not None:
        commands = (("kustomize", "build", str(folder)), ("kubectl", "kustomize", str(folder)))
        remedy = "install kubectl (apt-get install kubernetes-client) or kustomize, or give its files one by one"
        return Builder(folder, file, "kustomization", commands, remedy)
    if (folder / "Chart.yaml").is_file() and (folder / "templates").is_dir():
        release = re.sub(r"[^a-z0-9]+", "-", folder.absolute().name.lower()).strip("-")[:53] or "release"
        remedy = "install helm, or give what 'helm template' makes of it elsewhere"
        return Builder(folder, "Chart.yaml", "Helm chart", (("helm", "template", release, str(folder)),), remedy)
    return None


def _subfolders(folder: Path) -> Iterator[Path]:
    for number, (path, _, _) in enumerate(os.walk(folder)):
        if number == _MOST_FOLDERS:
            return
        yield Path(path)


def _bases(folder: Path) -> Iterator[Path]:
    """It, and the folders of this machine that it names, and those that these name."""
    ahead, seen = [folder.resolve()], set[Path]()
    while ahead and len(seen) < _MOST_FOLDERS:
        here = ahead.pop()
        if here in seen:
            continue
        seen.add(here)
        yield here
        ahead += [path for name in _named(here) if (path := (here / name).resolve()).is_dir()]


def _named(folder: Path) -> list[str]:
    import yaml

    path = next((folder / name for name in _KUSTOMIZATIONS if (folder / name).is_file()), None)
    if path is None:
        return []
    try:
        found = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return []  # whoever builds it says why
    listed = (found.get(key) or () for key in ("resources", "bases", "components")) if isinstance(found, dict) else ()
    return [name for names in listed if isinstance(names, list) for name in names if isinstance(name, str)]
