"""Asking an API server that is slow, busy, silent, or none: what a real one does seldom."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from pilotfish.cluster.kubeconfig import Access, Plugin, Server, User
from pilotfish.runtime.cluster import api as module
from pilotfish.runtime.cluster.access import find_access
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.errors import ApiError, Unauthorized, Unreachable
from pilotfish.runtime.errors import MachineError

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_NOBODY = User()
_V1 = "client.authentication.k8s.io/v1"


@asynccontextmanager
async def serving(handler: Handler, user: User = _NOBODY) -> AsyncIterator[Api]:
    """An Api whose server is `handler`."""
    server = web.Server(handler)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    try:
        async with Api(Access(Server(f"http://{host}:{port}"), user, origin="context test")) as api:
            yield api
    finally:
        await runner.cleanup()


async def test_what_is_put_off_is_asked_again_after_the_time_that_the_server_names() -> None:
    asked: list[float] = []

    async def busy(request: web.BaseRequest) -> web.Response:
        asked.append(asyncio.get_running_loop().time())
        if len(asked) < 3:
            return web.Response(status=429, headers={"Retry-After": "0" if len(asked) == 1 else "1"})
        return web.json_response({"ok": True})

    async with serving(busy) as api:
        assert await api.get("/api/v1/pods") == {"ok": True}
    assert asked[2] - asked[1] >= 1.0


async def test_a_server_that_is_busy_for_longer_than_a_request_lasts() -> None:
    async def busy(request: web.BaseRequest) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": "60"})

    async with serving(busy) as api:
        with pytest.raises(ApiError) as raised:
            await api.get("/api/v1/pods", timeout=5)
    assert (raised.value.code, raised.value.retry_after) == (429, 60.0)


async def test_a_server_that_does_not_answer() -> None:
    async def silent(request: web.BaseRequest) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    async with serving(silent) as api:
        with pytest.raises(Unreachable, match=r"has not answered within 0 s"):
            await api.get("/api/v1/pods", timeout=0.2)


async def test_an_answer_that_stops_in_its_middle() -> None:
    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"items":')
        await asyncio.sleep(60)
        return response

    async with serving(slow) as api:
        with pytest.raises(Unreachable, match=r"has not answered within 0 s"):
            await api.get("/api/v1/pods", timeout=0.2)


async def test_an_answer_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2**20)

    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)

    async with serving(endless) as api:
        with pytest.raises(Unreachable, match=r"longer than 1048576 bytes"):
            await api.get("/api/v1/pods")


@pytest.mark.parametrize("status", [200, 302, 500])
async def test_who_answers_is_no_api_server(status: int) -> None:
    async def page(request: web.BaseRequest) -> web.Response:
        return web.Response(status=status, text="<html>log in</html>", headers={"Location": "/login"})

    async with serving(page) as api:
        with pytest.raises(MachineError, match=r"<html>log in</html>"):
            _ = [each async for each in api.pages("/api/v1/pods")]


async def test_a_list_comes_in_pages() -> None:
    async def list_(request: web.BaseRequest) -> web.Response:
        query = dict(request.query)
        if "continue" not in query:
            assert query == {"limit": "2", "labelSelector": "a=b", "resourceVersion": "0"}
            return web.json_response({"metadata": {"resourceVersion": "9", "continue": "n"}, "items": [1, 2]})
        assert query == {"limit": "2", "labelSelector": "a=b", "continue": "n"}
        return web.json_response({"metadata": {"resourceVersion": "9"}, "items": [3]})

    async with serving(list_) as api:
        params = {"labelSelector": "a=b", "resourceVersion": "0"}
        found = [page async for page in api.pages("/api/v1/pods", limit=2, **params)]  # type: ignore[arg-type]
    assert [page.items for page in found] == [[1, 2], [3]]
    assert {page.resource_version for page in found} == {"9"}


async def test_events_are_cut_where_lines_are_however_they_arrive() -> None:
    lines = b'{"type":"ADDED","object":{"n":1}}\n\n{"type":"BOOKMARK","object":{"n":2}}\n'

    async def watch(request: web.BaseRequest) -> web.StreamResponse:
        assert request.query["resourceVersion"] == "7"
        response = web.StreamResponse()
        await response.prepare(request)
        for position in range(0, len(lines), 5):
            await response.write(lines[position : position + 5])
            await asyncio.sleep(0)
        return response

    async with serving(watch) as api:
        found = [(event.type, event.object) async for event in api.watch("/api/v1/pods", since="7")]
    assert found == [("ADDED", {"n": 1}), ("BOOKMARK", {"n": 2})]


async def test_a_watch_that_is_not_even_ended_when_it_is_to_end_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OVERDUE", 0.1)

    async def watch(request: web.BaseRequest) -> web.StreamResponse:
        assert request.query["timeoutSeconds"] == "1"
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(60)
        return response

    async with serving(watch) as api:
        with pytest.raises(Unreachable, match=r"has said nothing for 0 s of a watch of /api/v1/pods"):
            _ = [event async for event in api.watch("/api/v1/pods", lasts=0.1)]


async def test_nobody_listens_there() -> None:
    async with Api(Access(Server("http://127.0.0.1:1"), origin="context test")) as api:
        with pytest.raises(
            Unreachable, match=r"http://127.0.0.1:1 of context test can't be reached: Connect call failed"
        ):
            await api.get("/version")


def told(*accepted: str) -> Handler:
    """Answers with what is told of who asks, if that is accepted."""

    async def answer(request: web.BaseRequest) -> web.Response:
        said = request.headers.get("Authorization", "")
        if said not in accepted:
            return web.Response(status=401, text="Unauthorized")
        return web.json_response({"by": said, "as": request.headers.getall("Impersonate-Group", [])})

    return answer


async def test_a_token_is_read_again_when_it_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    accepted = ["Bearer old"]

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return await told(*accepted)(request)

    async with serving(answer, User(token_file=file)) as api:
        assert (await api.get("/api"))["by"] == "Bearer old"
        accepted[:] = ["Bearer new"]
        with pytest.raises(Unauthorized, match=r"context test are not, or no longer, valid"):
            await api.get("/api")
        file.write_text("new")
        assert (await api.get("/api"))["by"] == "Bearer new"


async def test_password_and_impersonation() -> None:
    headers = (("Impersonate-User", "bob"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b"))
    user = User(username="ann", password="pw", headers=headers)
    async with serving(told("Basic YW5uOnB3"), user) as api:
        assert (await api.get("/api"))["as"] == ["a", "b"]


def plugin(folder: Path, script: str, **changes: Any) -> User:
    """A program that says who asks; each time that it runs is a line of the file `runs`."""
    path = folder / "login"
    path.write_text(f"#!/bin/sh\necho >>{folder}/runs\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return User(plugin=replace(Plugin(str(path), _V1, interactive="Never"), **changes))


def printing(token: str, expires: str = "") -> str:
    ending = f', "expirationTimestamp": "{expires}"' if expires else ""
    status = f'{{"token": "{token}"{ending}}}'
    return f"""echo '{{"apiVersion": "{_V1}", "kind": "ExecCredential", "status": {status}}}'"""


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text().splitlines())


async def test_a_plugins_credential_is_kept_until_it_is_refused(tmp_path: Path) -> None:
    accepted = ["Bearer one"]

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return await told(*accepted)(request)

    async with serving(answer, plugin(tmp_path, printing("one"))) as api:
        await asyncio.gather(*(api.get("/api") for _ in range(5)))
        assert runs(tmp_path) == 1
        plugin(tmp_path, printing("two"))
        accepted[:] = ["Bearer two"]
        assert (await api.get("/api"))["by"] == "Bearer two"
        assert runs(tmp_path) == 2


async def test_a_plugins_credential_is_made_anew_when_it_expires(tmp_path: Path) -> None:
    async with serving(told("Bearer one"), plugin(tmp_path, printing("one", "2026-01-01T00:00:00Z"))) as api:
        await api.get("/api")
        await api.get("/api")
    assert runs(tmp_path) == 2
    async with serving(told("Bearer one"), plugin(tmp_path, printing("one", "2999-01-01T00:00:00+01:00"))) as api:
        await api.get("/api")
        await api.get("/api")
    assert runs(tmp_path) == 3


async def test_a_plugin_is_told_its_cluster_and_its_environment(tmp_path: Path) -> None:
    script = f'echo "$KUBERNETES_EXEC_INFO" >{tmp_path}/info; ' + printing("'$TOKEN'")
    async with serving(told("Bearer mine"), plugin(tmp_path, script, env={"TOKEN": "mine"}, wants_cluster=True)) as api:
        await api.get("/api")
        told_ = (tmp_path / "info").read_text()
    assert '"interactive":false' in told_
    assert f'"cluster":{{"server":"{api.access.server.url}"}}' in told_


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo no >&2; exit 3", "login makes no credentials: it ended with 3: no; run it by hand"),
        ("echo hello", "what it prints is no ExecCredential"),
        ("head -c 3000000 /dev/zero", "it prints more than 1048576 bytes"),
        (
            printing("x").replace("/v1", "/v1beta1"),
            "it prints client.authentication.k8s.io/v1beta1, ExecCredential, not",
        ),
        (printing(""), "neither a token nor a certificate"),
    ],
)
async def test_a_plugin_that_fails_is_named(tmp_path: Path, script: str, said: str) -> None:
    async with serving(told(), plugin(tmp_path, script)) as api:
        with pytest.raises(MachineError) as raised:
            await api.get("/api")
    assert said in str(raised.value)


async def test_a_plugin_that_does_not_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pilotfish.runtime.cluster.credentials._PLUGIN_TIMEOUT", 0.3)
    async with serving(told(), plugin(tmp_path, "exec sleep 60")) as api:
        with pytest.raises(MachineError, match=r"it has not ended after 0 s"):
            await api.get("/api")


async def test_a_plugin_that_is_not_installed(tmp_path: Path) -> None:
    async with serving(told(), User(plugin=Plugin("no-such-login", _V1, hint="brew install\nit"))) as api:
        with pytest.raises(
            MachineError, match=r"no-such-login, which makes credentials, is not there; brew install it"
        ):
            await api.get("/api")


def test_the_files_of_the_environment_are_taken_together(tmp_path: Path) -> None:
    one = "clusters: [{name: c, cluster: {server: 'https://one'}}]"
    two = "contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x"
    (tmp_path / "one").write_text(one)
    (tmp_path / "two").write_text(two)
    listed = f"{tmp_path}/one:{tmp_path}/none::{tmp_path}/two"
    assert find_access(environment={"KUBECONFIG": listed}).server.url == "https://one"
    with pytest.raises(MachineError, match=r"there is no current-context"):
        find_access(tmp_path / "one", environment={"KUBECONFIG": listed})
    with pytest.raises(MachineError, match=r"none can't be read: No such file"):
        find_access(tmp_path / "none", environment={})


def test_a_pod_without_a_kubeconfig_uses_its_account(tmp_path: Path) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443", "HOME": str(tmp_path)}
    with pytest.raises(MachineError, match=r"there is no ~/.kube/config, and this is no pod"):
        find_access(environment=environment, account=tmp_path)
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("istio-system\n")
    found = find_access(environment=environment, account=tmp_path)
    assert (found.server.url, found.namespace) == ("https://10.96.0.1:443", "istio-system")
