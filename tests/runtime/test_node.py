"""A whole mesh of a few pods, run inside of the test: real namespaces, Envoys and discovery."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from pilotfish.config import load
from pilotfish.model.kinds import CONFIG_MAP, DEPLOYMENT, POD
from pilotfish.model.sync import Sync
from pilotfish.model.wellknown import PROXY_UID
from pilotfish.node.identity import PodIdentity
from pilotfish.node.publish import Publish
from pilotfish.runtime.control.client import Client
from pilotfish.runtime.control.views import PodView, StatusView
from pilotfish.runtime.linux.process import ProcessSpec, start
from pilotfish.runtime.net.leftovers import leftovers
from pilotfish.runtime.node.ending import Ending
from pilotfish.runtime.node.node import Node, running
from pilotfish.runtime.node.options import CannotStart, ProgressLine, UpOptions
from pilotfish.runtime.node.progress import Progress
from tests.freezing import freeze
from tests.waiting import until

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.asyncio(loop_scope="module"),
]

MESH = f"t-node-{os.getpid()}"
WEB = DEPLOYMENT.ref("default", "web")
SERVER = "python3, -m, http.server, '8000'"
READY = "readinessProbe: {httpGet: {path: /, port: 8000}, periodSeconds: 1}"
MANIFEST = f"""
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{name: http, port: 80, targetPort: 8000}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - {{name: web, command: [{SERVER}], {READY}}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client, labels: {{app: client}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - {{name: app, command: [sleep, infinity]}}
"""


@dataclass
class Running:
    node: Node
    source: Path
    client: Client
    events: list[ProgressLine] = field(default_factory=list)

    async def status(self) -> StatusView:
        return await asyncio.to_thread(self.client.status)

    async def until(self, holds: Callable[[StatusView], object], within: float = 15.0) -> StatusView:
        """The first status that holds; asked again after each change."""
        async with asyncio.timeout(within):
            while True:
                seen = self.node.changes.counter
                status = await self.status()
                if holds(status):
                    return status
                await self.node.changes.wait(seen, within)

    async def call(self, method: str, *arguments: object) -> object:
        return await asyncio.to_thread(getattr(self.client, method), *arguments)

    async def run(self, pod: str, *argv: str) -> int:
        """A command in a container; its exit code."""
        view = find(await self.status(), pod)
        spec = ProcessSpec.load(Path(next(iter(view.exec.values()))))
        process = await start(ProcessSpec(argv=argv, env=spec.env, netns=spec.netns, mounts=spec.mounts))
        return await process.wait()


def find(status: StatusView, name: str) -> PodView:
    return next(pod for pod in status.pods if pod.name == name)


def webs(status: StatusView) -> list[PodView]:
    return [pod for pod in status.pods if pod.labels.get("app") == "web"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mesh() -> AsyncIterator[Running]:
    with tempfile.TemporaryDirectory(prefix="pilotfish-node-") as folder:
        root = Path(folder)
        (root / "sources").mkdir()
        source = root / "sources/mesh.yaml"
        source.write_text(MANIFEST)
        publish = (Publish("127.0.0.1", 0, "web", "default", "80"),)
        options = UpOptions(MESH, (str(source.parent),), root / "state", publish)
        events: list[ProgressLine] = []
        progress = Progress(events.append)
        async with running(options, progress, Ending(progress)) as node:
            mesh = Running(node, source, Client(options.directory), events)
            await mesh.until(lambda status: status.ready)
            yield mesh
        assert not leftovers(MESH)
        assert not options.directory.exists()


async def test_a_pod_calls_a_service_by_name_through_its_proxy(mesh: Running) -> None:
    assert await mesh.run("client", "curl", "-sSf", "-m", "5", "-o", "/dev/null", "http://web/") == 0
    agent = mesh.node.reconciler.workloads.pods[POD.ref("default", "client")].sandbox.agent
    assert agent is not None
    clusters = (await agent.admin.request("GET", "/clusters")).body.decode().splitlines()
    web = [line for line in clusters if line.startswith("outbound|80||web.default.svc.cluster.local::10.")]
    assert any(line.endswith("::rq_total::1") for line in web), "it went through the client's proxy"


async def test_a_service_is_reached_on_a_local_port(mesh: Running) -> None:
    host, _, port = (await mesh.status()).published[0].address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
    finally:
        writer.close()
        await writer.wait_closed()


async def test_what_the_status_tells(mesh: Running) -> None:
    status = await mesh.status()
    assert status.problems == ()
    assert {proxy.pod for proxy in status.proxies} == {pod.name for pod in status.pods}
    assert all(proxy.sync is not None and proxy.sync.types["cds"] is Sync.SYNCED for proxy in status.proxies)
    web = webs(status)[0]
    assert web.owner == "deployment/web"
    assert [c.kind for c in web.containers] == ["app", "proxy"]
    assert status.services[0].endpoints == (f"{web.addresses[0]}:8000",)
    texts = [event.text for event in mesh.events]
    assert "discovery ready" in texts
    assert sum(event.ready for event in mesh.events) == 1


async def test_no_request_fails_while_it_is_scaled_up_and_down(mesh: Running) -> None:
    script = "for i in $(seq 400); do curl -sSf -m 5 -o /dev/null http://web/ || exit 1; done"
    load = asyncio.create_task(mesh.run("client", "sh", "-c", script))
    await mesh.call("scale", WEB, 3)
    await mesh.until(lambda status: len([pod for pod in webs(status) if pod.ready]) == 3)
    await mesh.call("scale", WEB, 1)
    await mesh.until(lambda status: len(webs(status)) == 1, within=20)
    assert await load == 0


async def test_what_is_applied_reaches_every_proxy_and_a_wait_ends_then(mesh: Running) -> None:
    entry = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: applied}
spec: {hosts: [applied.example.com], ports: [{number: 7700, name: http, protocol: HTTP}], resolution: DNS}
"""
    await mesh.call("apply", entry)
    assert await mesh.call("synced", 10.0)
    agent = mesh.node.reconciler.workloads.pods[POD.ref("default", "client")].sandbox.agent
    assert agent is not None
    assert b"outbound|7700||applied.example.com" in (await agent.admin.request("GET", "/clusters")).body
    await mesh.call("delete", entry)
    assert await mesh.call("synced", 10.0)
    assert b"applied.example.com" not in (await agent.admin.request("GET", "/clusters")).body


async def test_a_saved_change_rolls_the_pods(mesh: Running) -> None:
    before = webs(await mesh.status())[0].name
    mesh.source.write_text(MANIFEST.replace("metadata: {labels: {app: web}}", "metadata: {labels: {app: web, v: v2}}"))
    status = await mesh.until(lambda s: [p.ready for p in webs(s)] == [True] and webs(s)[0].name != before, within=20)
    assert webs(status)[0].labels["v"] == "v2"
    view = await mesh.call("rollout", WEB)
    assert getattr(view, "message", "") == 'deployment "web" successfully rolled out'


async def test_what_is_no_file_among_the_manifests_is_said_and_holds_up_nothing(mesh: Running) -> None:
    pipe = mesh.source.with_name("pipe.yaml")
    os.mkfifo(pipe)
    status = await mesh.until(lambda status: status.problems)
    assert [(problem.reason, problem.source) for problem in status.problems] == [("NotAFile", f"{pipe}:1")]
    assert not status.ready
    mesh.source.with_name("more.yaml").write_text("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n")
    await mesh.until(lambda _: CONFIG_MAP.ref("default", "more") in mesh.node.reconciler.store.objects)
    pipe.unlink()
    await mesh.until(lambda status: not status.problems)


async def test_a_killed_envoy_and_a_killed_discovery_come_back(mesh: Running) -> None:
    status = await mesh.status()
    proxy = next(p for p in status.proxies if p.pod == "client")
    assert proxy.pid is not None
    assert status.discovery.pid is not None
    os.kill(proxy.pid, signal.SIGKILL)
    os.kill(status.discovery.pid, signal.SIGKILL)
    await mesh.until(lambda s: s.discovery.running and s.discovery.restarts == 1)
    await mesh.until(lambda s: next(p for p in s.proxies if p.pod == "client").restarts == 1 and s.ready)


async def test_a_discovery_that_hangs_is_no_ready_mesh(mesh: Running) -> None:
    discovery = (await mesh.until(lambda s: s.ready)).discovery.pid
    assert discovery is not None
    freeze(discovery)
    try:
        status = await mesh.status()
        assert (status.ready, status.discovery.running, status.discovery.answering) == (False, True, False)
    finally:
        os.kill(discovery, signal.SIGCONT)
    await mesh.until(lambda s: s.ready and s.discovery.answering)


async def test_a_pod_whose_annotation_is_wrong_is_refused(mesh: Running) -> None:
    text = """
apiVersion: v1
kind: Pod
metadata:
  name: wrong
  annotations: {traffic.sidecar.istio.io/includeOutboundIPRanges: 10.0.0.0/99}
spec: {containers: [{name: app, command: [sleep, infinity]}]}
"""
    await mesh.call("apply", text, "wrong.yaml")
    status = await mesh.until(lambda s: s.problems)
    assert status.problems[0].name == "wrong"
    assert "includeOutboundIPRanges" in status.problems[0].field
    assert not status.ready
    assert not any(pod.name == "wrong" for pod in status.pods)
    await mesh.call("delete", text)
    await mesh.until(lambda s: not s.problems)


def _sleeper(name: str, volumes: str = "[]") -> str:
    containers = "[{name: app, command: [sleep, infinity]}]"
    spec = f"{{terminationGracePeriodSeconds: 0, volumes: {volumes}, containers: {containers}}}"
    return f"---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {spec}\n"


async def test_a_volume_that_cannot_be_written_is_its_pods_trouble_alone(mesh: Running) -> None:
    settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: s}\ndata: {a: x, b: y}\n"
    items = "[{key: a, path: one}, {key: b, path: one/two}]"
    text = settings + _sleeper("bad", f"[{{name: v, configMap: {{name: s, items: {items}}}}}]") + _sleeper("good")
    await mesh.call("apply", text)
    status = await mesh.until(lambda s: s.problems and any(p.name == "good" and p.ready for p in s.pods))
    assert {problem.name for problem in status.problems} == {"bad"}
    assert not status.ready
    await mesh.call("delete", text)
    await mesh.until(lambda s: s.ready)


async def test_a_fault_of_ours_is_said_of_its_object_and_stops_no_other(
    mesh: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    reconciler = mesh.node.reconciler
    inject = reconciler._inject

    def failing(pod: PodIdentity) -> object:
        if pod.name == "bad":
            raise ZeroDivisionError
        return inject(pod)

    monkeypatch.setattr(reconciler.workloads, "_inject", failing)
    text = _sleeper("bad") + _sleeper("good")
    await mesh.call("apply", text, "two.yaml")
    status = await mesh.until(lambda s: s.problems and any(p.name == "good" and p.ready for p in s.pods))
    assert {(p.name, p.reason, p.source) for p in status.problems} == {("bad", "InternalError", "two.yaml:2")}
    assert not status.ready
    monkeypatch.undo()
    await mesh.until(lambda s: s.ready and any(p.name == "bad" for p in s.pods))
    await mesh.call("delete", text)
    await mesh.until(lambda s: s.ready and not any(p.name in ("bad", "good") for p in s.pods))


async def test_thousands_of_objects_hold_up_nobody(mesh: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    longest = 0.0
    run = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        nonlocal longest
        began = time.thread_time()  # not of the clock: others use the machine, too
        run(handle)
        longest = max(longest, time.thread_time() - began)

    many = mesh.source.with_name("many.yaml")
    spec = "{selector: {app: none}, ports: [{name: http, port: 80}]}"
    text = "".join(f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{n}}}\nspec: {spec}\n" for n in range(5000))
    gc.freeze()  # what all tests before left is nothing that a mesh would look through
    try:
        monkeypatch.setattr(asyncio.Handle, "_run", measured)
        many.write_text(text)
        # Without a status, of which each would be some megabytes.
        await until("all are read", lambda: len(mesh.node.reconciler.store.objects) > 5000, within=30)
        await until("all are served", lambda: mesh.node.reconciler.ready, within=30)
    finally:
        monkeypatch.undo()
        gc.unfreeze()
    began = time.thread_time()
    load(text, "many.yaml")
    assert longest < time.thread_time() - began, "no step takes as long as reading it all at once would"
    many.unlink()
    await mesh.until(lambda s: s.ready and len(s.services) == 1)


async def test_what_a_mesh_keeps_on_the_disk_is_roots_and_each_pods_own(mesh: Running) -> None:
    directory = Path((await mesh.status()).mesh.directory)
    assert directory.stat().st_mode & 0o777 == 0o711
    files = {path.relative_to(directory): path.stat() for path in directory.rglob("*") if path.is_file()}
    open_to_all = {path.name for path, status in files.items() if status.st_mode & 0o077}
    assert open_to_all == {"hosts", "hostname", "resolv.conf"}
    bootstraps = [status.st_uid for path, status in files.items() if path.name.startswith("envoy-rev")]
    assert set(bootstraps) == {PROXY_UID}
    assert {path.name for path in files} >= {"mesh.json", "objects.json", "discovery.log", "istio-proxy.log"}


async def test_a_second_mesh_that_cannot_start_leaves_nothing(mesh: Running, tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(MANIFEST)
    host, _, port = (await mesh.status()).published[0].address.rpartition(":")
    publish = (Publish(host, int(port), "web", "default", "80"),)
    options = UpOptions(f"{MESH}-2", (str(tmp_path / "m.yaml"),), tmp_path / "state", publish)
    progress = Progress(lambda _: None)
    with pytest.raises(CannotStart, match="is taken"):
        async with running(options, progress, Ending(progress)):
            pass
    assert not leftovers(f"{MESH}-2")
    assert not options.directory.exists()
