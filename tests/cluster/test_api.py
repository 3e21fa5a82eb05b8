"""A real API server is reached by every form of a kubeconfig, and what it refuses is named."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from pilotfish.cluster.kubeconfig import Access
from pilotfish.cluster.paths import collection, item
from pilotfish.model.kinds import CONFIG_MAP, POD
from pilotfish.runtime.cluster.access import find_access
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.errors import ApiError, Forbidden, Unreachable
from pilotfish.runtime.streams import StreamServer
from tests.cluster.api_server import ApiServer
from tests.cluster.conftest import MakeApiServer
from tests.cluster.kubectl import Kubectl
from tests.freezing import freeze


async def version(access: Access) -> str:
    async with Api(access) as api:
        return str((await api.get("/version"))["major"])


def changed(server: ApiServer, folder: Path, cluster: dict[str, Any], user: dict[str, Any] | None = None) -> Access:
    """The administrator's kubeconfig, with these fields others, or with another user."""
    config = yaml.safe_load(server.kubeconfig.read_text())
    config["clusters"][0]["cluster"].update(cluster)
    if user is not None:
        config["users"][0]["user"] = user
    path = folder / "config"
    path.write_text(yaml.safe_dump(config))
    return find_access(path)


async def test_by_another_name_than_its_own(api_server: ApiServer, tmp_path: Path) -> None:
    named = {"tls-server-name": "kubernetes.default.svc"}
    assert await version(changed(api_server, tmp_path, named)) == "1"
    with pytest.raises(Unreachable, match=r"does not prove who it is: .* mend tls-server-name of the kubeconfig"):
        await version(changed(api_server, tmp_path, {"tls-server-name": "another.test"}))


async def test_whose_certificate_nobody_has_signed(api_server: ApiServer, tmp_path: Path) -> None:
    access = find_access(api_server.kubeconfig)
    stranger = replace(access, server=replace(access.server, authority=None))
    with pytest.raises(Unreachable, match=r"does not prove who it is: .* mend certificate-authority of the kubeconfig"):
        await version(stranger)
    assert await version(replace(access, server=replace(stranger.server, verified=False))) == "1"


@asynccontextmanager
async def proxy() -> AsyncIterator[tuple[str, list[str]]]:
    """An HTTP proxy, and whom it was asked to lead to."""
    asked: list[str] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        finally:
            writer.close()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(maxsplit=2)
        asked.append(target)
        assert method == "CONNECT"
        host, _, port = target.rpartition(":")
        there_reader, there_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            await asyncio.gather(pump(reader, there_writer), pump(there_reader, writer))
        finally:
            there_writer.transport.abort()

    server, bound = StreamServer(lead), socket.create_server(("127.0.0.1", 0))
    await server.start(bound)
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}", asked
    finally:
        await server.close()


async def test_what_was_given_up_is_cut_off_though_the_server_hangs(make_api_server: MakeApiServer) -> None:
    with make_api_server() as server:
        async with Api(find_access(server.api.kubeconfig)) as api:
            await api.get("/version")
            freeze(server.server.pid)
            with pytest.raises(Unreachable, match="has not answered within"):
                await api.get("/version", timeout=0.2)
            assert connections_to(server.api) == 1, "TLS waits for its goodbye"
        await asyncio.sleep(0)
        assert connections_to(server.api) == 0


def connections_to(server: ApiServer) -> int:
    """Of this process: those that the kernel has no end of yet."""
    own = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the directory itself
            own.add(str(descriptor.readlink()))
    port = f":{urlsplit(server.url).port:04X}"
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines())
    return sum(line[2].endswith(port) and f"socket:[{line[9]}]" in own for line in lines)


async def test_through_a_proxy(api_server: ApiServer, tmp_path: Path) -> None:
    async with proxy() as (url, asked):
        given = {"proxy-url": url, "tls-server-name": "localhost"}
        assert await version(changed(api_server, tmp_path, given)) == "1"
        assert asked == [api_server.url.removeprefix("https://")]
    with pytest.raises(Unreachable, match=r"the proxy http://127.0.0.1:1, which leads to .* can't be reached"):
        await version(changed(api_server, tmp_path, {"proxy-url": "http://127.0.0.1:1"}))


async def test_a_plugin_gives_a_certificate(api_server: ApiServer, tmp_path: Path) -> None:
    user = yaml.safe_load(api_server.kubeconfig.read_text())["users"][0]["user"]
    held = (user[f"client-{name}-data"] for name in ("certificate", "key"))
    certificate, key = (base64.b64decode(each).decode() for each in held)
    kind = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    status = {"clientCertificateData": certificate, "clientKeyData": key}
    (tmp_path / "credential").write_text(json.dumps(kind | {"status": status}))
    plugin = {
        "apiVersion": kind["apiVersion"],
        "command": "cat",
        "args": [str(tmp_path / "credential")],
        "interactiveMode": "Never",
    }
    async with Api(changed(api_server, tmp_path, {}, {"exec": plugin})) as api:
        said = await api.send("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    assert said["status"]["userInfo"]["username"] == "admin"


async def test_a_token_and_who_is_acted_as(api_server: ApiServer, kubectl: Kubectl, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(kubectl("create", "token", "default"))
    account = f"system:serviceaccount:{kubectl.namespace}:default"
    pods = collection(POD, kubectl.namespace)
    async with Api(changed(api_server, tmp_path, {}, {"tokenFile": "token"})) as api:
        with pytest.raises(Forbidden) as raised:
            await api.get(pods)
        assert str(raised.value) == (
            f"the API server forbids {account} to list pods in namespace {kubectl.namespace}; allow it by a Role there "
            'or a ClusterRole with apiGroups: [""], resources: ["pods"], verbs: ["list"]'
        )
    user = yaml.safe_load(api_server.kubeconfig.read_text())["users"][0]["user"]
    async with Api(changed(api_server, tmp_path, {}, user | {"as": "ann", "as-groups": ["a", "b"]})) as api:
        with pytest.raises(Forbidden, match=r"forbids ann to list pods"):
            await api.get(pods)


async def test_what_is_applied_is_whose_and_conflicts_are_told(api_server: ApiServer, kubectl: Kubectl) -> None:
    path = item(CONFIG_MAP, kubectl.namespace, "a")

    def document(value: str) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": value}}

    async with Api(find_access(api_server.kubeconfig)) as api:
        await api.apply(path, document("1"))
        await api.apply(path, document("2"), manager="another", force=True)
        with pytest.raises(ApiError) as raised:
            await api.apply(path, document("3"))
        assert (raised.value.code, raised.value.reason) == (409, "Conflict")
        await api.apply(path, document("3"), force=True, dry_run=True)
        assert (await api.get(path))["data"] == {"x": "2"}
        with pytest.raises(ApiError, match=r'refuses to get configmaps none in .*: configmaps "none" not found'):
            await api.get(item(CONFIG_MAP, kubectl.namespace, "none"))
