"""What podman is asked: each call is one run of it, in the surroundings that `up` was started in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pilotfish.node.images import Image
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.command import Completed, run

_LABEL = "io.pilotfish.mesh"
_ANSWER = 30.0
_STORAGES = ("overlay", "vfs")


@dataclass(frozen=True, slots=True)
class Listed:
    """An image as `image ls` has it."""

    names: tuple[str, ...]
    id: str
    size: int
    """Bytes."""
    created: float
    """Seconds since the epoch."""


async def find(names: Sequence[str]) -> dict[str, Image]:
    """Those of the full names that this machine has an image of. MachineError if podman is missing or can't say."""
    done = await _ask("image", "inspect", *names)
    if done.returncode and "image not known" not in done.stderr:
        raise _failed("the images of this machine can't be listed", done)
    found: dict[str, Image] = {}
    for each in json.loads(done.stdout or "[]"):
        called = {*(each.get("RepoTags") or ()), *(each.get("RepoDigests") or ())}
        if wanted := called.intersection(names):
            image = await _read(each)
            found.update(dict.fromkeys(wanted, image))
    return found


async def keep(mesh: str, name: str, image: str) -> None:
    """Nobody removes the image (`podman rmi`, `image prune`) until the `name` is let go, unless by force."""
    done = await _ask(
        "create", "--replace", "--pull", "never", "--network", "none", "--no-healthcheck", "--name", name,
        "--label", f"{_LABEL}={mesh}", image, "kept-for-pilotfish",
    )  # fmt: skip
    if done.returncode:
        raise _failed(f"image {image[:12]} can't be kept", done)


async def let_go(names: Sequence[str]) -> None:
    await _ask("rm", "--force", "--ignore", *names)


async def let_all_go(mesh: str) -> None:
    """Whatever of the mesh's is still kept."""
    done = await _ask("ps", "--all", "--quiet", "--filter", f"label={_LABEL}={mesh}")
    if ids := done.stdout.split():
        await let_go(ids)


async def load(file: Path) -> tuple[str, ...]:
    """The names, or ids, of what the archive has: `docker save`'s, or an OCI archive. MachineError if it is none."""
    if not file.is_file():
        raise MachineError(f"{file} is no file", "name an archive that 'docker save' or 'podman save' wrote")
    done = await run(("podman", "load", "--input", str(file)))
    if done.returncode:
        raise _failed(f"{file} can't be loaded", done)
    marks = ("Loaded image: ", "Loaded image(s): ")
    lines = (line for line in done.stdout.splitlines() if line.startswith(marks))
    return tuple(name.strip() for line in lines for name in line.partition(": ")[2].split(","))


async def every() -> tuple[Listed, ...]:
    """All that have a name, by name."""
    done = await _ask("images", "--format", "json")
    if done.returncode:
        raise _failed("the images of this machine can't be listed", done)
    return tuple(sorted(_listed(json.loads(done.stdout or "[]")), key=lambda image: image.names))


def _listed(images: Sequence[Mapping[str, Any]]) -> Iterator[Listed]:
    for each in images:
        if names := tuple(sorted(each.get("Names") or ())):
            yield Listed(names, each["Id"], int(each["Size"]), float(each["Created"]))


async def _read(said: Mapping[str, Any]) -> Image:
    config = said.get("Config") or {}
    return Image(
        id=said["Id"],
        layers=await _layers(said),
        entrypoint=tuple(config.get("Entrypoint") or ()),
        cmd=tuple(config.get("Cmd") or ()),
        env=tuple(config.get("Env") or ()),
        user=config.get("User") or "",
        working_dir=config.get("WorkingDir") or "",
        stop_signal=config.get("StopSignal") or "",
        volumes=tuple(config.get("Volumes") or ()),
    )


async def _layers(said: Mapping[str, Any]) -> tuple[str, ...]:
    driver = said.get("GraphDriver") or {}
    data = driver.get("Data") or {}
    if driver.get("Name") == "overlay" and "UpperDir" in data:
        lower = data.get("LowerDir", "")
        return (data["UpperDir"], *(lower.split(":") if lower else ()))
    if driver.get("Name") != "vfs":
        what = f"podman's storage driver {driver.get('Name')} is none of {', '.join(_STORAGES)}"
        raise MachineError(what, "name one as driver in /etc/containers/storage.conf, and load the images again")
    # A copy of all files for each layer: "mounting" the last of them tells where it is, and does no more.
    done = await _ask("image", "mount", said["Id"])
    await _ask("image", "unmount", said["Id"])
    if done.returncode:
        raise _failed(f"the files of image {said['Id'][:12]} can't be found", done)
    return (done.stdout.strip(),)


async def _ask(*arguments: str) -> Completed:
    """MachineError if podman is missing, or hangs: it waits for others who use it, and for its storage."""
    try:
        async with asyncio.timeout(_ANSWER):
            return await run(("podman", *arguments))
    except TimeoutError:
        what = f"podman did not answer within {_ANSWER:.0f} s (podman {' '.join(arguments[:2])})"
        raise MachineError(what, "see what else uses it, with 'ps -ef'") from None


def _failed(what: str, done: Completed) -> MachineError:
    return MachineError(f"{what}: {reason(done.stderr)}")


def reason(said: str) -> str:
    """Of what podman prints when it fails, the last that it says is why."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    found = next((line for line in reversed(lines) if line.startswith("Error:")), lines[-1] if lines else "no reason")
    return found.removeprefix("Error:").strip()
