"""Keys of issuers: discovery fetches them, renews them, and keeps the last good ones."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pilotfish.envoy.types import LISTENER
from pilotfish.model.authentication import KeyHost, KeySource
from pilotfish.runtime.discovery.address import Address
from pilotfish.runtime.discovery.key_fetch import Fetcher, UnavailableError
from pilotfish.runtime.discovery.serve import DiscoveryServer, Options
from tests.certificates import Issued, issue
from tests.manifests import save
from tests.runtime.discovery_client import Client, connected, get

LOOPBACK = Address("127.0.0.1", 0)
POLICY = """
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens, namespace: vm}}
spec: {{jwtRules: [{{issuer: "{issuer}"{more}}}]}}
"""


def keys(name: str) -> str:
    return json.dumps({"keys": [{"kty": "oct", "kid": name, "k": "c2VjcmV0"}]})


@dataclass
class Issuer:
    """Answers with `pages`, by path: a text, or a status."""

    port: int = 0
    pages: dict[str, str | int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def serve(issuer: Issuer, context: ssl.SSLContext | None = None) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked.append(self.path)
            page = issuer.pages.get(self.path, 404)
            body = page.encode() if isinstance(page, str) else b""
            self.send_response(200 if isinstance(page, str) else page)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", issuer.port), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    issuer.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    server = serve(made)
    yield made
    server.shutdown()
    server.server_close()


@asynccontextmanager
async def running(path: Path, state: Path | None = None, refresh: float = 0.05) -> AsyncIterator[DiscoveryServer]:
    async with DiscoveryServer(Options((path,), LOOPBACK, LOOPBACK, state=state, key_refresh=refresh)) as made:
        task = asyncio.create_task(made.run())
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def told(proxy: Client, text: str) -> bool:
    """Whether the proxy's inbound listener has a text."""
    found = proxy.has[LISTENER].get("virtualInbound")
    return found is not None and text.encode() in found.resource.value


async def test_keys_are_fetched_and_renewed_and_the_last_good_ones_kept(tmp_path: Path, issuer: Issuer) -> None:
    issuer.pages["/keys"] = keys("one")
    path = tmp_path / "mesh.yaml"
    save(path, POLICY.format(issuer="x", more=f", jwksUri: '{issuer.url}/keys'"))
    async with running(path) as made, connected(made.xds) as proxy:
        await proxy.until("the keys", lambda: told(proxy, '\\"one\\"') or told(proxy, '"one"'))
        issuer.pages["/keys"] = keys("two")
        await proxy.until("the new keys", lambda: told(proxy, '"two"'))
        issuer.pages["/keys"] = 500
        assert await made.driver.moved.wait_for(lambda: "KeysNotRenewed" in reasons(made), 5)
        assert told(proxy, '"two"')
        issuer.pages["/keys"] = keys("three")
        await proxy.until("the newest keys", lambda: told(proxy, '"three"'))
        assert "KeysNotRenewed" not in reasons(made)
        status, problems = await get(made, "/api/problems")
        assert (status, [problem["reason"] for problem in problems]) == (200, ["NoWorkloads"])


def reasons(made: DiscoveryServer) -> set[str]:
    return {problem.reason for problem in made.plane.mesh.problems()} - {"NoWorkloads"}


async def test_what_can_not_be_had_is_said(tmp_path: Path, issuer: Issuer) -> None:
    issuer.pages |= {"/none": "no keys", "/large": keys("x" * 300_000), "/bad": '{"keys": []}'}
    expected = {"/404": "answers 404", "/none": "no JSON Web Key Set", "/large": "more than", "/bad": "no key that"}
    for path, said in expected.items():
        file = tmp_path / "mesh.yaml"
        save(file, POLICY.format(issuer="x", more=f", jwksUri: '{issuer.url}{path}'"))
        async with running(file) as made, connected(made.xds) as proxy:
            await proxy.until("nobody's keys", lambda: told(proxy, "nobody"))
            (problem,) = (p for p in made.plane.mesh.problems() if p.reason == "KeysUnavailable")
            assert said in problem.message
            assert problem.field == "spec.jwtRules[0].jwksUri"


ROOT, OTHER = issue("root", is_ca=True), issue("other", is_ca=True)
ME, ISSUER, NOBODY = (f"spiffe://cluster.local/ns/vm/sa/{name}" for name in ("istiod", "issuer", "nobody"))


@pytest.mark.parametrize(
    ("shown", "path", "said"),
    [
        (issue("issuer", ROOT, ISSUER), "/keys", ""),
        (issue("issuer", ROOT, NOBODY), "/keys", f"{NOBODY} is none of"),
        (issue("issuer", ROOT, "issuer.vm.svc.cluster.local"), "/keys", "nobody is none of"),
        (issue("issuer", OTHER, ISSUER), "/keys", "can't be asked"),
        (issue("issuer", ROOT, ISSUER), "/moved", "answers 302"),
    ],
)
async def test_an_issuer_of_the_mesh_proves_who_it_is(tmp_path: Path, shown: Issued, path: str, said: str) -> None:
    asked = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    own.check_hostname = False
    for context, issued in ((asked, shown), (own, issue("istiod", ROOT, ME))):
        (tmp_path / "pair.pem").write_text(issued.pem + issued.key)
        context.load_cert_chain(tmp_path / "pair.pem")
        context.load_verify_locations(cadata=ROOT.pem)
    asked.verify_mode = ssl.CERT_REQUIRED
    names: list[str | None] = []
    asked.sni_callback = lambda _, name, __: names.append(name)
    issuer = Issuer(pages={"/keys": keys("one"), "/moved": 302})
    server = serve(issuer, asked)
    found = KeyHost("issuer.vm.svc.cluster.local", ("127.0.0.1",), "outbound_.80_._.issuer", (ISSUER,))
    fetcher = Fetcher(lambda host, _: found if host in ("issuer.vm", found.host) else None, lambda: own)
    source = KeySource(f"http://issuer.vm:{issuer.port}{path}")
    try:
        if said:
            with pytest.raises(UnavailableError, match=said):
                await fetcher.fetch(source)
        else:
            assert await fetcher.fetch(source) == keys("one")
            assert names == [found.server_name]
    finally:
        server.shutdown()
        server.server_close()


async def test_an_issuer_says_where_its_keys_are(tmp_path: Path, issuer: Issuer) -> None:
    issuer.pages["/.well-known/openid-configuration"] = json.dumps({"jwks_uri": f"{issuer.url}/keys"})
    issuer.pages["/keys"] = keys("one")
    path = tmp_path / "mesh.yaml"
    save(path, POLICY.format(issuer=issuer.url, more=""))
    async with running(path) as made, connected(made.xds) as proxy:
        await proxy.until("the keys", lambda: told(proxy, '"one"'))


async def test_keys_outlive_a_restart(tmp_path: Path, issuer: Issuer) -> None:
    issuer.pages["/keys"] = keys("one")
    path, state = tmp_path / "mesh.yaml", tmp_path / "state"
    save(path, POLICY.format(issuer="x", more=f", jwksUri: '{issuer.url}/keys'"))
    async with running(path, state, refresh=60) as made, connected(made.xds) as proxy:
        await proxy.until("the keys", lambda: told(proxy, '"one"'))
    issuer.pages["/keys"] = 503
    async with running(path, state, refresh=60) as made, connected(made.xds) as proxy:
        await proxy.until("the keys of before", lambda: told(proxy, '"one"'))


async def test_tls_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = issue("root", is_ca=True)
    own = issue("localhost", root, "localhost")
    (tmp_path / "own.pem").write_text(own.pem + own.key)
    (tmp_path / "root.pem").write_text(root.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem")
    issuer = Issuer(pages={"/keys": keys("one")})
    server = serve(issuer, context)
    path = tmp_path / "mesh.yaml"
    save(path, POLICY.format(issuer="x", more=f", jwksUri: 'https://localhost:{issuer.port}/keys'"))
    try:
        async with running(path) as made:
            (problem,) = (p for p in made.plane.mesh.problems() if p.reason == "KeysUnavailable")
            assert "certificate" in problem.message
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "root.pem"))
        async with running(path) as made, connected(made.xds) as proxy:
            await proxy.until("the keys", lambda: told(proxy, '"one"'))
    finally:
        server.shutdown()
        server.server_close()
