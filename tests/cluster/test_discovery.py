"""Discovery of a real cluster: what proxies are told while its API server goes and comes back."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from contextlib import suppress

from pilotfish.cluster.paths import collection
from pilotfish.envoy.types import CLUSTER
from pilotfish.model.kinds import SERVICE
from pilotfish.runtime.cluster.access import find_access
from pilotfish.runtime.discovery.serve import ClusterOptions
from tests.cluster.conftest import MakeApiServer
from tests.cluster.following import asking
from tests.runtime.discovery_client import Client, discovery, get
from tests.waiting import until

_RUN = "import sys; from pilotfish.cli import main; sys.argv[0] = 'pilotfish'; main()"


def named(name: str) -> str:
    return f"outbound|80||{name}.default.svc.cluster.local"


async def test_proxies_are_served_while_the_api_server_is_away(make_api_server: MakeApiServer) -> None:
    with make_api_server() as server:
        of = ClusterOptions(find_access(server.api.kubeconfig))
        async with asking(server.api.kubeconfig) as api, discovery(cluster=of) as made:
            client = Client()
            tasks = [asyncio.create_task(client.run(made.xds))]

            async def make(name: str) -> None:
                document = {"metadata": {"name": name}, "spec": {"ports": [{"name": "http", "port": 80}]}}
                await api.send("POST", collection(SERVICE, "default"), document)

            async def away() -> list[str]:
                """What is said of that."""
                _, problems = await get(made, "/api/problems")
                return [each["message"] for each in problems if each["reason"] == "ApiServerAway"]

            async def since() -> float:
                _, metrics = await get(made, "/metrics")
                name = "pilotfish_source_away_since_seconds "
                return next(float(line.split()[1]) for line in metrics.splitlines() if line.startswith(name))

            async def is_well() -> bool:
                return await away() == [] and await since() == 0

            await make("before")
            await client.until("it is told", lambda: named("before") in client.has[CLUSTER])
            assert await get(made, "/ready") == (200, "ready\n")

            server.end()
            [message] = await until("it is said", away)
            assert "no change of the cluster is known, and what was known stays in force" in message
            late = Client()
            tasks.append(asyncio.create_task(late.run(made.xds, "sidecar~10.0.0.2~late.vm~vm.svc.cluster.local")))
            await late.until("it is served", lambda: named("before") in late.has[CLUSTER])
            assert await get(made, "/ready") == (200, "ready\n"), "it would be taken out of service"
            assert time.time() - 60 < await since() < time.time()

            await asyncio.to_thread(server.start)
            await make("after")
            for each in (client, late):
                await each.until("it is told", lambda each=each: named("after") in each.has[CLUSTER])
            await until("all is well", is_well)
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task


async def test_one_that_waits_for_its_api_server_says_so_and_ends_when_it_is_told_to(
    make_api_server: MakeApiServer,
) -> None:
    with make_api_server() as server:
        server.end()
        words = ["discovery", "--cluster", "--kubeconfig", str(server.api.kubeconfig), "--context", "test"]
        where = ["--xds-address", "127.0.0.1:0", "--monitoring-address", "127.0.0.1:0"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _RUN, *words, *where, stderr=asyncio.subprocess.PIPE
        )
        try:
            assert process.stderr is not None
            async with asyncio.timeout(30):
                line = (await process.stderr.readline()).decode()
            assert "can't be reached: Connect call failed" in line
            assert "nothing is served until then" in line
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
