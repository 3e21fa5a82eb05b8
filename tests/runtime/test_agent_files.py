"""What an agent reads of its pod's files, and to whom it tells it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from pilotfish.model.credential import PairFiles
from pilotfish.runtime.agent.files import FileSecrets
from pilotfish.runtime.linux.netns import NetNs
from tests.certificates import issue
from tests.waiting import until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="makes network namespaces")

_CLIENT = """
import os, socket, sys
os.setuid(int(sys.argv[1]))
with socket.socket(socket.AF_UNIX) as s:
    s.connect("\\0pilotfish/files")
    s.sendall(sys.stdin.buffer.read())
    s.settimeout(20)
    sys.stdout.buffer.write(s.recv(65536))
"""


async def _ask(netns: NetNs, uid: int, name: str, known: str = "") -> str:
    body = json.dumps({"resource_names": [name], "version_info": known}).encode()
    head = f"POST /v3/discovery:secrets HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    command = ("ip", "netns", "exec", netns.name, "python3", "-ISc", _CLIENT, str(uid))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    said, _ = await process.communicate(head + body)
    return said.decode()


@pytest.fixture
def folder() -> Iterator[Path]:
    """That Envoy's user may read."""
    with TemporaryDirectory() as made:
        Path(made).chmod(0o755)
        yield Path(made)


async def test_only_the_pods_envoy_is_told_of_keys(netns: NetNs, folder: Path) -> None:
    issued = issue("shop")
    (folder / "crt").write_text(issued.pem)
    files = PairFiles(f"{folder}/crt", f"{folder}/key")
    changes: list[int] = []
    secrets = FileSecrets((1337, 1337), lambda: changes.append(1))
    await secrets.start(netns)
    try:
        assert "403" in await _ask(netns, 0, files.secret)
        assert "400" in await _ask(netns, 1337, "kubernetes://shop")
        asked = asyncio.create_task(_ask(netns, 1337, files.secret))
        await until("it is told what lacks", lambda: secrets.unusable)
        (lacking,) = secrets.unusable
        assert (lacking.paths, lacking.had) == ((files.certificates, files.private_key), False)
        assert lacking.why == f"{files.private_key} can't be read: No such file or directory"
        assert len(changes) == 1
        (folder / "key").write_text(issued.key)
        answer = await asked
        assert "200 OK" in answer
        secret = json.loads(answer.partition("\r\n\r\n")[2])["resources"][0]
        assert secret["name"] == files.secret
        assert secrets.unusable == ()
        assert len(changes) == 2
    finally:
        await secrets.close()


async def test_what_has_expired_is_told(netns: NetNs, folder: Path) -> None:
    issued = issue("shop", days=-1)
    (folder / "crt").write_text(issued.pem)
    (folder / "key").write_text(issued.key)
    files = PairFiles(f"{folder}/crt", f"{folder}/key")
    secrets = FileSecrets((1337, 1337), lambda: None)
    await secrets.start(netns)
    try:
        assert "200 OK" in await _ask(netns, 1337, files.secret), "whether to take it is for the other side to say"
        await until("it is told", lambda: secrets.unusable)
        assert f"a certificate in {files.certificates} expired on 20" in secrets.unusable[0].why
    finally:
        await secrets.close()
