"""A real Envoy is given what a proxy would be sent, before any proxy is: what does it refuse, and of whose?

    Mesh's objects ─▶ ControlPlane ◀─ unix socket ─▶ Envoy, in a network namespace of its own
                           └─ Quarantine ─▶ Problems that name objects

`envoy --mode validate` would not do: it does not look at what comes over xDS.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pilotfish.agent.file_secrets import PATH
from pilotfish.config.desired import DesiredState
from pilotfish.discovery.findings import failures, rejections
from pilotfish.discovery.plane import ControlPlane
from pilotfish.envoy.bootstrap import BootstrapSpec, bootstrap
from pilotfish.identity.authority import make_root
from pilotfish.identity.requests import build_request, new_key, parse_request
from pilotfish.identity.sds import Secrets, build_secrets
from pilotfish.model import Problem, Proxy
from pilotfish.model.identity import DEFAULT_TRUST_DOMAIN, Identity
from pilotfish.runtime.agent.envoy import find_envoy
from pilotfish.runtime.agent.sds import SecretServer
from pilotfish.runtime.discovery.ads_server import bind, make_server
from pilotfish.runtime.discovery.callers import Callers, TokenKeys
from pilotfish.runtime.discovery.driver import Driver
from pilotfish.runtime.discovery.metrics import Metrics
from pilotfish.runtime.linux.netns import NetNs
from pilotfish.runtime.linux.process import STDOUT, Process, ProcessSpec, start

_PATIENCE = 30.0
"""Seconds until it has taken, or refused, everything."""


_SDS = "sds"
_OF_TRIALS = ("DeltaAggregatedResources", PATH)
"""In lines of its log that are about whom it asks: it has no agent, so no certificates from files either."""


@dataclass(frozen=True, slots=True)
class Verdict:
    problems: tuple[Problem, ...]
    """What Envoy refuses, by object."""
    warnings: tuple[str, ...]
    """What it says in its log, such as that a field is deprecated."""


class Trial:
    """One Envoy, which may be given one mesh after another."""

    def __init__(self, driver: Driver, process: Process, log: Path) -> None:
        self._driver = driver
        self._process = process
        self._log = log
        self._lines_read = 0

    async def give(self, desired: DesiredState) -> Verdict:
        """`desired`: with pods and addresses."""
        self._driver.change(desired, asyncio.get_running_loop().time())
        is_done = await self._follow()
        plane = self._driver.plane
        found = [finding.problem for finding in (*rejections(plane), *failures(plane))]
        lines = self._log.read_text(errors="replace").splitlines()
        log, self._lines_read = lines[self._lines_read :], len(lines)
        if not is_done:
            found.append(_unfinished(log))
        return Verdict(tuple(found), tuple(line for line in log if not any(each in line for each in _OF_TRIALS)))

    async def _follow(self) -> bool:
        """Whether Envoy has taken, or refused, everything."""
        plane = self._driver.plane

        def is_done() -> bool:
            return plane.is_settled and any(session.is_complete for session in plane.roster.sessions.values())

        settling = asyncio.create_task(self._driver.moved.wait_for(is_done, _PATIENCE))
        ending = asyncio.create_task(self._process.wait())
        await asyncio.wait((settling, ending), return_when=asyncio.FIRST_COMPLETED)
        ended = ending.done()
        for task in (settling, ending):
            task.cancel()
        await asyncio.gather(settling, ending, return_exceptions=True)
        return is_done() and not ended


async def try_out(desired: DesiredState, proxy: Proxy) -> Verdict:
    """As `Trial.give`, of an Envoy of its own."""
    async with trial(proxy) as envoy:
        return await envoy.give(desired)


@asynccontextmanager
async def trial(proxy: Proxy) -> AsyncIterator[Trial]:
    """Raises MachineError where no Envoy can be started; it needs root."""
    plane = ControlPlane()
    driver = Driver(plane, Metrics(plane.mesh.graph.stats), lambda remembered: None)
    with TemporaryDirectory(prefix="pilotfish-") as made:
        directory = Path(made)
        server = make_server(driver, Callers(driver.plane, None, TokenKeys(())))
        bind(server, f"unix:{directory}/xds")
        await server.start()
        pushing = asyncio.create_task(driver.run())
        secrets = SecretServer()
        try:
            if proxy.certified:
                secrets.update(_made_up_secrets())
                await secrets.start(directory / _SDS, os.getuid(), os.getgid())
            async with _envoy(directory, proxy) as process:
                yield Trial(driver, process, directory / "log")
        finally:
            await secrets.close()
            pushing.cancel()
            await asyncio.gather(pushing, return_exceptions=True)
            await server.stop(None)


@asynccontextmanager
async def _envoy(directory: Path, proxy: Proxy) -> AsyncIterator[Process]:
    """It listens in a namespace of its own, so that it takes nobody's port and nobody's traffic."""
    config = directory / "envoy.json"
    config.write_text(json.dumps(_bootstrap(directory, proxy)))
    netns = NetNs.create(f"pf-trial-{os.getpid()}")
    try:
        # Its listeners have addresses of a pod, and of Services, that this namespace has not.
        netns.sysctl({"ipv4/ip_nonlocal_bind": "1", "ipv6/ip_nonlocal_bind": "1"})
        argv = (str(find_envoy()), "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "-l", "warning")
        process = await start(ProcessSpec(argv, {}, netns=netns, stdout=str(directory / "log"), stderr=STDOUT))
        try:
            yield process
        finally:
            process.signal(signal.SIGKILL)
            await process.wait()
            process.close()
    finally:
        netns.delete()


def _bootstrap(directory: Path, proxy: Proxy) -> dict[str, Any]:
    """The one of a pod, but for sockets in the place of addresses."""
    mode = "TPROXY" if proxy.transparent else "REDIRECT"
    sds = str(directory / _SDS) if proxy.certified else ""
    config = bootstrap(BootstrapSpec(proxy, "127.0.0.1", interception_mode=mode, ipv6=False, sds_socket=sds))
    config["admin"]["address"] = {"pipe": {"path": str(directory / "admin")}}
    (cluster,) = (each for each in config["static_resources"]["clusters"] if each["name"] == "xds-grpc")
    pipe = {"endpoint": {"address": {"pipe": {"path": str(directory / "xds")}}}}
    cluster["load_assignment"]["endpoints"][0]["lb_endpoints"] = [pipe]
    return config


def _made_up_secrets() -> Secrets:
    """Of an authority that nobody trusts: without certificates Envoy waits for them."""
    key, now = new_key(), time.time()
    authority = make_root(DEFAULT_TRUST_DOMAIN, now)
    wanted = parse_request(build_request(key)).public_key
    chain = authority.sign(wanted, Identity(DEFAULT_TRUST_DOMAIN, "trial", "trial"), _PATIENCE * 100, now)
    return build_secrets(chain, key, authority.roots)


def _unfinished(log: list[str]) -> Problem:
    said = f": {log[-1]}" if log else ""
    message = f"Envoy ended, or did not answer for everything within {_PATIENCE:g} s{said}; what it takes is not known"
    return Problem(None, "", "EnvoyEnded", message)
