"""Certificates that another than the mesh's authority gives a pod: found, used, and followed."""

from __future__ import annotations

import json
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pilotfish.envoy.bootstrap import BootstrapSpec, bootstrap
from pilotfish.model import Proxy
from pilotfish.model.wellknown import DISCOVERY_NAME, IDENTITY_FILES, IDENTITY_SOCKET
from pilotfish.runtime.agent import AgentHost, AgentSpec, AuthoritySpec
from pilotfish.runtime.agent.envoy import find_envoy
from pilotfish.runtime.agent.external import ExternalFiles, FileCertificates, find_external
from pilotfish.runtime.agent.identity import ServedIdentity
from pilotfish.runtime.agent.spec import SecretSources
from pilotfish.runtime.linux.process import BindMount
from tests.certificates import Issued, issue
from tests.waiting import until

ROOT = issue("root", is_ca=True)


def write(directory: Path, names: tuple[str, ...], shown: Issued) -> None:
    directory.mkdir(exist_ok=True)
    for name, text in zip(names, (shown.pem, shown.key, ROOT.pem), strict=True):
        (directory / name).write_text(text)


def places(directory: Path) -> tuple[BindMount, ...]:
    targets = (IDENTITY_SOCKET.rpartition("/")[0], *(place for place, _ in IDENTITY_FILES))
    return tuple(BindMount(str(directory / str(i)), target) for i, target in enumerate(targets))


async def test_a_socket_goes_before_files_and_half_of_the_files_are_none(tmp_path: Path) -> None:
    mounts = places(tmp_path)
    assert find_external(mounts) is None
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "key.pem").write_text("")
    assert find_external(mounts) is None
    write(tmp_path / "2", IDENTITY_FILES[1][1], issue("a", ROOT))
    found = find_external(mounts)
    assert isinstance(found, ExternalFiles)
    assert found.chain == tmp_path / "2" / "cert-chain.pem"
    write(tmp_path / "1", IDENTITY_FILES[0][1], issue("b", ROOT))
    found = find_external(mounts)
    assert isinstance(found, ExternalFiles)
    assert found.key == tmp_path / "1" / "private_key.pem"
    (tmp_path / "0").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "0" / "socket"))
        external = find_external(mounts)
        assert external is not None
        assert not isinstance(external, ExternalFiles)
        assert external.mount == mounts[0]


async def test_files_are_followed_and_what_is_no_pair_is_said_and_not_used(tmp_path: Path) -> None:
    names = IDENTITY_FILES[1][1]
    write(tmp_path / "2", names, issue("first", ROOT))
    found = find_external(places(tmp_path))
    assert isinstance(found, ExternalFiles)
    kept = FileCertificates(found, lambda: None)
    kept.start()
    try:
        await until("it is read", lambda: kept.secrets)
        first = kept.secrets["default"].version
        second = issue("second", ROOT)
        (tmp_path / "2" / names[0]).write_text(second.pem)
        await until("it is said", lambda: "is not the key of the certificate" in kept.status.error)
        assert kept.secrets["default"].version == first
        (tmp_path / "2" / names[1]).write_text(second.key)
        await until("it is served", lambda: kept.secrets["default"].version != first)
        assert kept.status.error == ""
    finally:
        await kept.close()


AUTHORITY = AuthoritySpec("127.0.0.1:15012", Path("/nowhere"), lambda: "", "istiod.other.svc")


@pytest.mark.parametrize(
    ("external", "authority", "discovery", "expected"),
    [
        ("", None, "127.0.0.1:15012", SecretSources()),
        ("", AUTHORITY, "127.0.0.1:15012", SecretSources("./sds", "./sds", "istiod.other.svc")),
        ("", AUTHORITY, "127.0.0.1:15010", SecretSources("./sds")),
        ("files", None, "127.0.0.1:15012", SecretSources("./sds", "./sds", DISCOVERY_NAME)),
        ("files", AUTHORITY, "127.0.0.1:15012", SecretSources("./sds", "./discovery-sds", "istiod.other.svc")),
        ("socket", None, "127.0.0.1:15010", SecretSources(IDENTITY_SOCKET)),
        ("socket", AUTHORITY, "127.0.0.1:15012", SecretSources(IDENTITY_SOCKET, "./discovery-sds", "istiod.other.svc")),
    ],
)
async def test_where_envoy_has_which_certificate_from(
    tmp_path: Path, external: str, authority: AuthoritySpec | None, discovery: str, expected: SecretSources
) -> None:
    mounts = places(tmp_path)
    if external == "files":
        write(tmp_path / "2", IDENTITY_FILES[1][1], issue("a", ROOT))
    proxy = Proxy.of_pod("web-0", "vm", ("127.0.0.1",))
    spec = AgentSpec(proxy, None, tmp_path, discovery, "", None, authority=authority, identities=mounts)
    with socket.socket(socket.AF_UNIX) as listening:
        if external == "socket":
            (tmp_path / "0").mkdir()
            listening.bind(str(tmp_path / "0" / "socket"))
            expected = replace(expected, mounts=(mounts[0],))
        async with AgentHost() as host:
            sources = ServedIdentity(spec, host, lambda: None).sources
    assert sources == expected
    described = BootstrapSpec(
        proxy, "127.0.0.1", sds_socket=sources.workload, discovery_name=sources.name,
        discovery_sds_socket=sources.discovery,
    )  # fmt: skip
    config = json.dumps(bootstrap(described))
    command = [str(find_envoy()), "--mode", "validate", "--config-yaml", config, "-l", "warning"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
