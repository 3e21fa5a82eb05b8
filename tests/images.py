"""Images for tests, made of files of this machine: no network is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
_APPLETS = ("cat", "dd", "echo", "env", "httpd", "id", "ls", "mkdir", "mknod", "nc", "ps", "pwd", "rm", "sh", "sleep",
            "stat", "test", "touch", "tr", "true", "wget")  # fmt: skip
_FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:app:/home/app:/bin/sh\n",
    "etc/group": "root:x:0:\napp:x:1001:\nextra:x:2000:app\n",
    "srv/index.html": "hello from the image\n",
    "srv/ready": "",
}


def podman(*arguments: str | Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        ["podman", *map(str, arguments)], text=True, capture_output=True, timeout=120, env=env, check=False
    )
    if done.returncode:
        raise AssertionError(f"podman {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def image_name(name: str) -> str:
    """Of this test process alone, as the machine's images are everybody's."""
    return f"localhost/pilotfish-test-{os.getpid()}/{name}:1"


@contextmanager
def built_image(folder: Path, name: str, configuration: str, base: str = "scratch") -> Iterator[str]:
    """An image of busybox and the files above, with these lines of a Dockerfile; gone at the end."""
    full = image_name(name)
    tree = folder / name
    (tree / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, tree / "bin" / "busybox")
    for applet in _APPLETS:
        (tree / "bin" / applet).symlink_to("busybox")
    for path, text in _FILES.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    for path in ("root", "tmp", "home/app"):
        (tree / path).mkdir(parents=True)
    (tree / "tmp").chmod(0o1777)
    file = folder / f"{name}.Dockerfile"
    file.write_text(f"FROM {base}\nCOPY . /\n{configuration}\n")
    podman("build", "--quiet", "--layers=false", "--tag", full, "--file", file, tree)
    try:
        yield full
    finally:
        podman("rmi", "--force", full)
