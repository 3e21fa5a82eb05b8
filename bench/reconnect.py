"""How soon proxies are back with a discovery that was away for long.

    python -m bench.reconnect [--agents N] [--away SECONDS]

Needs root: each agent gets a network namespace and an Envoy; in each, discovery's port opens at last.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

from bench.agents import DISCOVERY, has_envoy, namespaces
from pilotfish.config.mesh import ProxyConfig
from pilotfish.model import Proxy
from pilotfish.runtime.agent import Agent, AgentHost, AgentSpec
from pilotfish.runtime.agent.sockets import listen
from pilotfish.runtime.linux.netns import NetNs


async def first_connection(namespace: NetNs) -> float:
    """Seconds from when the port opens."""
    host, _, port = DISCOVERY.rpartition(":")
    with listen(namespace, host, int(port)) as listener:
        opened = time.perf_counter()
        connection, _ = await asyncio.get_running_loop().sock_accept(listener)
        connection.close()
        return time.perf_counter() - opened


async def main(agents: int, away: float) -> None:
    directory = Path(tempfile.mkdtemp(prefix="pf-bench-", dir="/run"))
    directory.chmod(0o755)
    try:
        async with namespaces(agents) as made, AgentHost() as host:
            specs = (
                AgentSpec(
                    proxy=Proxy.of_pod(f"pod-{number}", "bench", ("127.0.0.1",)),
                    netns=namespace,
                    directory=directory / f"pod-{number}",
                    discovery=DISCOVERY,
                    monitoring="",
                    log=directory / f"pod-{number}.log",
                    proxy_config=ProxyConfig(concurrency=1),
                )
                for number, namespace in enumerate(made)
            )
            started = [Agent(spec, host) for spec in specs]
            for agent in started:
                await agent.start()
            await asyncio.gather(*(has_envoy(agent) for agent in started))
            await asyncio.sleep(away)
            times = await asyncio.gather(*(first_connection(namespace) for namespace in made))
            print(f"{agents} Envoys whose discovery was away for {away:.0f} s: back after {median(times):.2f} s, "
                  f"the last after {max(times):.2f} s")  # fmt: skip
            deadline = asyncio.get_running_loop().time() + 3
            await asyncio.gather(*(agent.stop(deadline) for agent in started))
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=20)
    parser.add_argument("--away", type=float, default=45.0)
    asyncio.run(main(**vars(parser.parse_args())))
