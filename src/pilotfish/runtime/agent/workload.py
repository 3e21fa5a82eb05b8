"""A workload that is no pod: its agent probes it, and tells discovery how it is.

Each result is told, also one that is no news: a discovery that was started again knows nothing.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from pilotfish.agent.workload_health import Health, WorkloadProbe
from pilotfish.runtime.agent.probing import Prober, ProbeResult
from pilotfish.runtime.discovery.client import DiscoveryClient
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.linux.command import run


async def watch_workload(probe: WorkloadProbe, prober: Prober, discovery: DiscoveryClient, proxy_id: str) -> None:
    """Never returns."""
    health = Health(probe)
    await asyncio.sleep(probe.delay)
    while True:
        result = await _probe(probe, prober)
        health.note(result.ok)
        with suppress(OSError):  # discovery is away; it is told the next time
            await discovery.report_health(proxy_id, health.healthy)
        await asyncio.sleep(probe.period)


async def _probe(probe: WorkloadProbe, prober: Prober) -> ProbeResult:
    if probe.app is not None:
        return await prober.probe(probe.app, {})
    try:
        async with asyncio.timeout(probe.timeout):
            done = await run(probe.command, netns=prober.netns)
    except TimeoutError:
        return ProbeResult(False, f"{probe.command[0]} did not end within {probe.timeout} s")
    except (MachineError, OSError) as error:
        return ProbeResult(False, str(error))
    return ProbeResult(done.returncode == 0, f"{probe.command[0]} ended with {done.returncode}")
