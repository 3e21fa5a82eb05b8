"""The webhooks' port: who asks what, by which certificate, and what is said while nothing can be answered."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client import CollectorRegistry

from pilotfish.offline.reading import read
from pilotfish.runtime.discovery import webhooks
from pilotfish.runtime.discovery.address import Address
from pilotfish.runtime.discovery.admissions import Admissions
from pilotfish.runtime.discovery.webhooks import Webhooks
from tests.certificates import Issued, issue

POD = {"metadata": {"name": "web", "namespace": "shop"}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}}


def review(pod: object = POD, **request: Any) -> bytes:
    fields = {"uid": "u1", "kind": {"version": "v1", "kind": "Pod"}, "operation": "CREATE", "object": pod, **request}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": fields}).encode()


def values(text: str) -> str:
    metadata = {"name": "istio", "namespace": "istio-system"}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"injection": text}})


@dataclass
class Served:
    webhooks: Webhooks
    port: int
    root: Issued
    folder: Path
    shown: ssl.SSLContext | None = None
    registry: CollectorRegistry | None = None

    def show(self, name: str) -> None:
        """Who comes from now on is shown another certificate."""
        own = issue(name, self.root, "localhost")
        file = self.folder / f"{name}.pem"
        file.write_text(own.pem + own.key)
        self.shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.shown.load_cert_chain(file)

    def context(self) -> ssl.SSLContext:
        assert self.shown is not None
        return self.shown

    def follow(self, *texts: str) -> None:
        self.webhooks.follow(read([("a.yaml", "\n---\n".join(texts))]))

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[aiohttp.ClientSession]:
        trusting = ssl.create_default_context(cadata=self.root.pem)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
            yield session

    async def ask(self, path: str, body: bytes, method: str = "POST") -> tuple[int, str]:
        async with (
            self.client() as session,
            session.request(method, f"{self.url}{path}", data=io.BytesIO(body)) as answer,
        ):
            return answer.status, await answer.text()

    async def inject(self, body: bytes, path: str = "/inject") -> dict[str, Any]:
        status, text = await self.ask(path, body)
        assert status == 200, text
        response: dict[str, Any] = json.loads(text)["response"]
        return response


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    registry = CollectorRegistry()
    found: list[Served] = []
    made = Webhooks(lambda: found[0].context(), Admissions(registry), "istio")
    found.append(Served(made, 0, issue("root", is_ca=True), tmp_path, registry=registry))
    found[0].show("first")
    found[0].port = (await made.listen(Address("127.0.0.1", 0))).port
    yield found[0]
    await made.close()


def injected(response: dict[str, Any]) -> list[dict[str, Any]]:
    patch: list[dict[str, Any]] = json.loads(base64.b64decode(response["patch"]))
    return patch


async def test_a_pod_is_patched_with_what_the_installation_says(served: Served) -> None:
    served.follow(values("image: own:1"))
    response = await served.inject(review())
    added = next(each["value"] for each in injected(response) if each["path"] == "/spec/initContainers")
    assert [each["image"] for each in added] == ["own:1", "own:1"]


async def test_the_path_says_which_cluster_asks(served: Served) -> None:
    served.follow(values(""))
    response = await served.inject(review(), "/inject/cluster/west/net/a--slash--b")
    added = next(each["value"] for each in injected(response) if each["path"] == "/spec/initContainers")
    told = {each["name"]: each.get("value") for each in added[1]["env"]}
    assert (told["ISTIO_META_CLUSTER_ID"], told["ISTIO_META_NETWORK"]) == ("west", "a/b")


async def test_a_certificate_is_renewed_while_it_serves(served: Served) -> None:
    async def shown() -> str:
        trusting = ssl.create_default_context(cadata=served.root.pem)
        _, writer = await asyncio.open_connection("localhost", served.port, ssl=trusting)
        found = writer.get_extra_info("peercert")
        writer.close()
        return str(found["subject"][0][0][1])

    assert await shown() == "first"
    served.show("second")
    assert await shown() == "second"


async def test_while_nothing_is_known_no_pod_is_let_in(served: Served) -> None:
    response = await served.inject(review())
    assert not response["allowed"]
    assert "has not read the mesh's configuration yet" in response["status"]["message"]
    served.follow("{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [{port: 80}]}}")
    response = await served.inject(review())
    assert not response["allowed"]
    assert "ConfigMap istio-system/istio has no key 'injection'" in response["status"]["message"]


async def test_values_that_can_not_be_used_leave_the_last_good_ones(served: Served) -> None:
    served.follow(values("imagee: own:1"))
    response = await served.inject(review())
    assert not response["allowed"]
    assert "did you mean 'image'?" in response["status"]["message"]
    served.follow(values("image: own:1"))
    served.follow(values("image: [own]"))
    assert (await served.inject(review()))["allowed"]


async def test_what_is_no_question_is_said_to_be_none(served: Served) -> None:
    assert (await served.ask("/inject", b"{}"))[0] == 400
    assert (await served.ask("/inject", b"", "GET"))[0] == 405
    assert (await served.ask("/injection", review()))[0] == 404
    status, said = await served.ask("/validate", b" " * (8 * 2**20 + 1))
    assert (status, "longer than" in said) == (400, True)
    assert served.registry is not None
    assert served.registry.get_sample_value("galley_validation_http_error_total") == 2


async def test_who_asks_without_end_is_not_waited_for(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "_PATIENCE", 0.2)
    trusting = ssl.create_default_context(cadata=served.root.pem)
    reader, writer = await asyncio.open_connection("localhost", served.port, ssl=trusting)
    writer.write(b"POST /inject HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{")
    assert (await reader.readline()).startswith(b"HTTP/1.1 504")
    writer.close()


async def test_a_large_question_is_answered_beside_the_others(served: Served) -> None:
    served.follow(values(""))
    containers = [{"name": f"c{number}", "image": "web:1", "args": ["x" * 1000]} for number in range(200)]
    response = await served.inject(review({**POD, "spec": {"containers": containers}}))
    assert response["allowed"]


@pytest.mark.parametrize("pod", [{}, {"metadata": []}, {"spec": {"containers": [1]}}, {"spec": {"containers": "a"}}])
async def test_what_is_no_pod_is_refused(served: Served, pod: object) -> None:
    served.follow(values(""))
    assert not (await served.inject(review(pod)))["allowed"]
