"""Certificates in use: a real Envoy has them from the agent's socket, and openssl, and requests, see what it shows.

request ──▶ Envoy ──mutual TLS, a connection for each──▶ the same Envoy ──▶ 200
             └─SDS─ client's agent                        └─SDS─ server's agent
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509

from pilotfish.envoy.naming import MESH_ROOTS, SDS_CLUSTER, WORKLOAD_CERTIFICATE
from pilotfish.identity import succession
from pilotfish.identity.authority import load_all
from pilotfish.identity.messages import ROTATE
from pilotfish.identity.requests import new_key
from pilotfish.identity.tokens import Claims, make_token
from pilotfish.model.renewal import RenewalPolicy
from pilotfish.runtime.agent.authority_client import AuthorityClient
from pilotfish.runtime.agent.certificates import Certificates
from pilotfish.runtime.agent.envoy import find_envoy
from pilotfish.runtime.agent.roots import Followers
from pilotfish.runtime.agent.sds import SecretServer
from pilotfish.runtime.agent.spec import AuthoritySpec
from pilotfish.runtime.discovery.address import Address
from tests.manifests import save
from tests.runtime.identities import NAME, Secured, pod, secured
from tests.waiting import until

WEB = Claims("vm", "web", "web-0", "web-0-1", ("127.0.0.1",))
BANK = Claims("vm", "bank", "bank-0", "bank-0-1", ("127.0.0.1",))
OPERATOR = Claims("", "", is_operator=True)
KEY = new_key()
ARGUMENTS = ("--concurrency", "1", "--disable-hot-restart", "--log-level", "error")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mesh.yaml"
    save(path, pod("web-0", "web") + pod("bank-0", "bank"))
    return path


@dataclass
class Agent:
    certificates: Certificates
    server: SecretServer

    @property
    def serial(self) -> str:
        found = self.certificates.status.certificate
        return found.serial if found is not None else ""


def open_socket(family: int) -> socket.socket:
    return socket.socket(family)


@asynccontextmanager
async def agent(address: str, roots: Path, claims: Claims, path: Path, policy: RenewalPolicy) -> AsyncIterator[Agent]:
    """An agent's share in certificates, without the rest of it."""
    authority = AuthoritySpec(address, roots, lambda: make_token(KEY, claims, time.time()), NAME)
    server, followers = SecretServer(), Followers(open_socket)

    def changed() -> None:
        server.update(certificates.secrets)

    client, followed = AuthorityClient(authority, open_socket), followers.of(authority)
    certificates = Certificates(client, followed, policy, changed)
    await server.start(path, os.geteuid(), os.getegid())
    certificates.start()
    try:
        yield Agent(certificates, server)
    finally:
        await certificates.close()
        await followers.close()
        await server.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def sds(name: str, cluster: str, api: str) -> dict[str, Any]:
    service = {"envoy_grpc": {"cluster_name": cluster}}
    source = {"api_type": api, "transport_api_version": "V3", "grpc_services": [service]}
    return {"name": name, "sds_config": {"resource_api_version": "V3", "api_config_source": source}}


def tls(direction: str, cluster: str, api: str, **more: Any) -> dict[str, Any]:
    kind = f"envoy.extensions.transport_sockets.tls.v3.{direction}TlsContext"
    common = {
        "tls_certificate_sds_secret_configs": [sds(WORKLOAD_CERTIFICATE, cluster, api)],
        "validation_context_sds_secret_config": sds(MESH_ROOTS, cluster, api),
    }
    context = {"@type": f"type.googleapis.com/{kind}", "common_tls_context": common, **more}
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def http(name: str, port: int, route: dict[str, Any], **chain: Any) -> dict[str, Any]:
    filters = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{filters}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **route}]}]
        },
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": f"{filters}.http.router.v3.Router"}}
        ],
    }
    filter_ = {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"name": name, "address": address, "filter_chains": [{"filters": [filter_], **chain}]}


def static(name: str, address: dict[str, Any], **more: Any) -> dict[str, Any]:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    assignment = {"cluster_name": name, "endpoints": endpoints}
    return {"name": name, "type": "STATIC", "connect_timeout": "2s", "load_assignment": assignment, **more}


def http2(**more: Any) -> dict[str, Any]:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    return {"typed_extension_protocol_options": {options: {"@type": f"type.googleapis.com/{options}", **more}}}


def config(server: Path, client: Path, ports: tuple[int, int], api: str) -> dict[str, Any]:
    """`ports`: of the mutual TLS, and of who calls it."""
    h2 = http2(explicit_http_config={"http2_protocol_options": {}})
    once = http2(
        explicit_http_config={"http_protocol_options": {}},
        common_http_protocol_options={"max_requests_per_connection": 1},
    )
    upstream = static(
        "server",
        {"socket_address": {"address": "127.0.0.1", "port_value": ports[0]}},
        transport_socket=tls("Upstream", "client-sds", api),
        **once,
    )
    answer = {"direct_response": {"status": 200, "body": {"inline_string": "proven"}}}
    secure = tls("Downstream", SDS_CLUSTER, api, require_client_certificate=True)
    return {
        "node": {"id": "test", "cluster": "test"},
        "static_resources": {
            "listeners": [
                http("server", ports[0], answer, transport_socket=secure),
                http("client", ports[1], {"route": {"cluster": "server"}}),
            ],
            "clusters": [
                static(SDS_CLUSTER, {"pipe": {"path": str(server)}}, **h2),
                static("client-sds", {"pipe": {"path": str(client)}}, **h2),
                upstream,
            ],
        },
    }


@dataclass
class World:
    made: Secured
    server: Agent
    client: Agent
    ports: tuple[int, int]
    http: aiohttp.ClientSession
    directory: Path

    async def call(self) -> str:
        """What the request that needs both certificates comes to."""
        try:
            async with self.http.get(f"http://127.0.0.1:{self.ports[1]}/") as response:
                return f"{response.status} {await response.text()}"
        except aiohttp.ClientError as error:
            return repr(error)

    async def call_while(self, work: Awaitable[Any]) -> tuple[int, set[str]]:
        """(how many requests were made while that went on, their different answers)."""
        task = asyncio.ensure_future(work)
        answers: list[str] = []

        async def load() -> None:
            while not task.done():
                answers.append(await self.call())

        await asyncio.gather(*(load() for _ in range(4)))
        await task
        return len(answers), set(answers)

    async def shown(self, *more: str) -> list[x509.Certificate]:
        """What openssl is shown by Envoy, once it has verified it."""
        roots = self.directory / "roots.pem"
        roots.write_bytes(self.made.roots.read_bytes())
        where = f"127.0.0.1:{self.ports[0]}"
        command = ("openssl", "s_client", "-connect", where, "-CAfile", str(roots), "-showcerts", *more)
        done = await asyncio.to_thread(subprocess.run, command, input=b"", capture_output=True, timeout=20, check=False)
        said = done.stdout.decode(errors="replace")
        assert "Verify return code: 0 (ok)" in said, said + done.stderr.decode()
        return load_all(said.encode())


@asynccontextmanager
async def world(made: Secured, directory: Path, policy: RenewalPolicy, api: str = "GRPC") -> AsyncIterator[World]:
    address = str(made.made.secure)
    paths, ports = (directory / "s", directory / "c"), (free_port(), free_port())
    async with AsyncExitStack() as parts:
        server = await parts.enter_async_context(agent(address, made.roots, WEB, paths[0], policy))
        client = await parts.enter_async_context(agent(address, made.roots, BANK, paths[1], policy))
        command = (str(find_envoy()), "--config-yaml", json.dumps(config(*paths, ports, api)), *ARGUMENTS)
        with (directory / "envoy.log").open("wb") as log:
            envoy = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        http = await parts.enter_async_context(aiohttp.ClientSession())
        found = World(made, server, client, ports, http, directory)
        try:
            await until("a request is answered", lambda: _is_proven(found))
            yield found
        finally:
            envoy.kill()
            await envoy.wait()
        assert (directory / "envoy.log").read_text() == ""


async def _is_proven(found: World) -> bool:
    return await found.call() == "200 proven"


@pytest.mark.parametrize("api", ["GRPC", "DELTA_GRPC"])
async def test_an_envoy_shows_what_its_agent_has(file: Path, tmp_path: Path, api: str) -> None:
    async with secured(file, directory=tmp_path, key=KEY) as made, world(made, tmp_path, RenewalPolicy(), api) as found:
        shown = await found.shown()
        assert f"{shown[0].serial_number:x}" == found.server.serial
        names = shown[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://cluster.local/ns/vm/sa/web"]
        mode = (tmp_path / "s").stat()
        assert stat.S_IMODE(mode.st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
async def test_nobody_but_its_user_opens_the_socket(tmp_path: Path) -> None:
    server = SecretServer()
    tmp_path.chmod(0o755)
    directory = Path(f"/tmp/pft-sds-{os.getpid()}")
    directory.mkdir(mode=0o755)
    connect = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    try:
        await server.start(directory / "sds", 1337, 1337)
        codes = []
        for user in (1337, 1000):
            command = (
                "setpriv",
                f"--reuid={user}",
                f"--regid={user}",
                "--clear-groups",
                "/usr/bin/python3",
                "-c",
                connect,
            )
            done = await asyncio.create_subprocess_exec(
                *command, str(directory / "sds"), stderr=asyncio.subprocess.DEVNULL
            )
            codes.append(await done.wait())
        assert codes == [0, 1]
    finally:
        await server.close()
        directory.rmdir()


async def test_certificates_are_renewed_under_load(file: Path, tmp_path: Path) -> None:
    policy = RenewalPolicy(ttl=2, grace=0.5, jitter=0.1)
    async with secured(file, directory=tmp_path, key=KEY) as made, world(made, tmp_path, policy) as found:
        seen = {found.server.serial}

        async def watch() -> None:
            end = time.monotonic() + 5
            while time.monotonic() < end:
                await asyncio.sleep(0.1)
                seen.add(found.server.serial)

        count, answers = await found.call_while(watch())
        assert answers == {"200 proven"}
        assert count > 100
        assert len(seen) >= 4, "of five seconds, one each"


async def test_a_change_of_root_fails_no_request(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(succession, "SPREAD", 1.0)
    async with secured(file, directory=tmp_path, key=KEY) as made, world(made, tmp_path, RenewalPolicy()) as found:
        old = load_all(made.roots.read_bytes())[0]
        before = {found.server.serial, found.client.serial}

        async def rotate() -> None:
            await made.client("").ask(ROTATE, b"", made.token(OPERATOR))
            await until("both are signed anew", lambda: before.isdisjoint({found.server.serial, found.client.serial}))
            await asyncio.sleep(0.5)

        count, answers = await found.call_while(rotate())
        assert answers == {"200 proven"}
        assert count > 1
        assert (await found.shown())[0].issuer != old.subject


async def test_a_discovery_that_is_away_keeps_nobody_from_traffic_and_is_noticed(file: Path, tmp_path: Path) -> None:
    policy = RenewalPolicy(ttl=8, grace=0.9, jitter=0)
    async with AsyncExitStack() as outer:
        async with AsyncExitStack() as first:
            made = await first.enter_async_context(secured(file, directory=tmp_path, key=KEY))
            found = await outer.enter_async_context(world(made, tmp_path, policy))
            port = made.made.secure
            assert port is not None
        server = found.server
        count, answers = await found.call_while(until("it is noticed", lambda: server.certificates.status.error))
        assert answers == {"200 proven"}
        assert "Connect call failed" in server.certificates.status.error
        assert count > 1
        serial = found.server.serial
        again = secured(file, directory=tmp_path, key=KEY, secure=Address(port.host, port.port))
        async with again:
            count, answers = await found.call_while(until("it is renewed", lambda: found.server.serial != serial, 15))
            assert answers == {"200 proven"}
            assert not server.certificates.status.error
