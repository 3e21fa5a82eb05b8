"""What agents cost the process that holds them, beside an agent in a process of its own.

    python -m bench.agents [--agents N] [--concurrency N]

Needs root: each agent gets a network namespace and an Envoy, which waits for a discovery that is not there. Memory is
anonymous memory (smaps_rollup), CPU is that of ten seconds of waiting.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pilotfish.config.mesh import ProxyConfig
from pilotfish.model import Proxy
from pilotfish.runtime.agent import Agent, AgentHost, AgentSpec
from pilotfish.runtime.linux.netns import NetNs

DISCOVERY = "127.0.0.1:15010"
IDLE = 10.0


def anonymous_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Anonymous:"))


def cpu_seconds(pid: int) -> float:
    """Over all threads; schedstat counts nanoseconds."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


@asynccontextmanager
async def namespaces(count: int) -> AsyncIterator[list[NetNs]]:
    made = [NetNs.create(f"pf-bench-{os.getpid()}-{number}") for number in range(count)]
    try:
        for namespace in made:
            subprocess.run(["ip", "-n", namespace.name, "link", "set", "lo", "up"], check=True)
        yield made
    finally:
        for namespace in made:
            for pid in namespace.pids():
                os.kill(pid, signal.SIGKILL)
            namespace.delete()


async def has_envoy(agent: Agent) -> None:
    """Until Envoy has asked for its first configuration."""
    await agent.until(lambda: "discovery has not sent" in agent.status.message)


async def measure_together(made: list[NetNs], directory: Path, concurrency: int) -> None:
    before = anonymous_kb(os.getpid())
    async with AgentHost() as host:
        agents = [
            Agent(
                AgentSpec(
                    proxy=Proxy.of_pod(f"pod-{number}", "bench", ("127.0.0.1",)),
                    netns=namespace,
                    directory=directory / f"pod-{number}",
                    discovery=DISCOVERY,
                    monitoring="",
                    log=directory / f"pod-{number}.log",
                    proxy_config=ProxyConfig(concurrency=concurrency),
                ),
                host,
            )
            for number, namespace in enumerate(made)
        ]
        for agent in agents:
            await agent.start()
        await asyncio.gather(*(has_envoy(agent) for agent in agents))
        await asyncio.sleep(2)
        envoys = [agent.pid for agent in agents if agent.pid]
        share = (anonymous_kb(os.getpid()) - before) / len(agents)
        print(f"an agent among {len(agents)} in one process: {share:.0f} kB")
        print(f"an Envoy with {concurrency} workers: {sum(map(anonymous_kb, envoys)) / len(envoys) / 1024:.1f} MB")
        used = [cpu_seconds(os.getpid()), sum(map(cpu_seconds, envoys))]
        await asyncio.sleep(IDLE)
        own, theirs = cpu_seconds(os.getpid()) - used[0], sum(map(cpu_seconds, envoys)) - used[1]
        each = 100 / IDLE / len(agents)
        print(f"waiting for discovery, each: agent {own * each:.3f}% of a core, Envoy {theirs * each:.3f}%")
        deadline = asyncio.get_running_loop().time() + 3
        await asyncio.gather(*(agent.stop(deadline) for agent in agents))


async def measure_alone(namespace: NetNs, directory: Path) -> None:
    arguments = ["--pod", "alone", "--ip", "127.0.0.1", "--discovery-address", DISCOVERY, "--monitoring-address", ""]
    program = [sys.executable, "-c", "from pilotfish.cli import main; main()", "agent", *arguments]
    with namespace.entered():
        process = subprocess.Popen(
            [*program, "--directory", str(directory)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
    assert process.stderr
    while b"discovery has not sent" not in await asyncio.to_thread(process.stderr.readline):
        pass
    print(f"an agent in a process of its own: {anonymous_kb(process.pid) / 1024:.1f} MB")
    process.terminate()
    process.communicate()


async def main(agents: int, concurrency: int) -> None:
    directory = Path(tempfile.mkdtemp(prefix="pf-bench-", dir="/run"))
    directory.chmod(0o755)
    try:
        async with namespaces(agents) as made:
            await measure_together(made, directory, concurrency)
            await measure_alone(made[0], directory / "alone")
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=20)
    parser.add_argument("--concurrency", type=int, default=2)
    asyncio.run(main(**vars(parser.parse_args())))
