"""Whose a token is, as a real API server says it; and as its keys say it while it is away."""

from __future__ import annotations

import json
import signal
from asyncio import CancelledError, create_task
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from pilotfish.identity.tokens import Claims, RefusedTokenError
from pilotfish.runtime.cluster.access import find_access
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.tokens import Reviews
from pilotfish.runtime.discovery.callers import UnansweredError
from tests.cluster.api_server import ApiServer
from tests.cluster.conftest import MakeApiServer
from tests.cluster.kubectl import Kubectl
from tests.freezing import freeze
from tests.waiting import until

POD = "{apiVersion: v1, kind: Pod, metadata: {name: web}, spec: {containers: [{name: web, image: none}]}}"


@asynccontextmanager
async def reviews(kubeconfig: Path) -> AsyncIterator[Reviews]:
    async with Api(find_access(kubeconfig)) as api:
        made = Reviews(api)
        running = create_task(made.run())
        try:
            await until("the keys are here", lambda: made.has_keys)
            yield made
        finally:
            running.cancel()
            with suppress(CancelledError):
                await running


def token(kubectl: Kubectl, *more: str, audience: str = "istio-ca") -> str:
    return kubectl("create", "token", "default", "--audience", audience, *more).strip()


def pod(kubectl: Kubectl) -> tuple[str, str]:
    """Its uid, and a token that is bound to it."""
    kubectl.apply(POD)
    return kubectl.get("pod/web")["metadata"]["uid"], token(
        kubectl, "--bound-object-kind=Pod", "--bound-object-name=web"
    )


async def test_a_token_is_its_pod_s_until_that_is_gone(api_server: ApiServer, kubectl: Kubectl) -> None:
    uid, bound = pod(kubectl)
    other = token(kubectl, "--bound-object-kind=Pod", "--bound-object-name=web")
    async with reviews(api_server.kubeconfig) as made:
        assert await made.verify(bound) == Claims(kubectl.namespace, "default", "web", uid)
        kubectl("delete", "pod/web", "--now")
        with pytest.raises(RefusedTokenError):
            await made.verify(other)  # the API server itself believes what it has seen for ten seconds


async def test_who_asks_for_something_else_is_refused(api_server: ApiServer, kubectl: Kubectl) -> None:
    async with reviews(api_server.kubeconfig) as made:
        with pytest.raises(RefusedTokenError, match="for vault, and not for istio-ca"):
            await made.verify(token(kubectl, audience="vault"))
        good = token(kubectl)
        assert await made.verify(good) == Claims(kubectl.namespace, "default")
        head, body, signature = good.split(".")
        forged = signature[:-8] + ("A" * 8 if not signature.endswith("A" * 8) else "B" * 8)
        with pytest.raises(RefusedTokenError):
            await made.verify(f"{head}.{body}.{forged}")


async def test_the_api_server_away_stops_no_renewal(make_api_server: MakeApiServer) -> None:
    with make_api_server() as server:
        kubectl = server.api.kubectl
        uid, bound = pod(kubectl)
        async with reviews(server.api.kubeconfig) as made:
            freeze(server.server.pid)
            try:
                assert await made.verify(bound) == Claims("default", "default", "web", uid)
                with pytest.raises(RefusedTokenError, match="signed by nobody"):
                    await made.verify(bound[:-8] + "AAAAAAAA")
            finally:
                server.server.send(signal.SIGCONT)


async def test_before_the_keys_are_known_nobody_is_refused_for_good(tmp_path: Path, api_server: ApiServer) -> None:
    """Whoever asks then is to come again."""
    config = json.loads(api_server.kubectl("config", "view", "--raw", "--flatten", "--output", "json"))
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    nowhere = tmp_path / "kubeconfig"
    nowhere.write_text(json.dumps(config))
    async with Api(find_access(nowhere)) as api:
        with pytest.raises(UnansweredError):
            await Reviews(api).verify(token(api_server.kubectl))
