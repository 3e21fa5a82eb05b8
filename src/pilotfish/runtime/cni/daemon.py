"""All of the node's process: what it begins with, in which order, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web

from pilotfish.cluster.kubeconfig import Access
from pilotfish.cluster.paths import item
from pilotfish.cni.conflist import PLUGIN, build_plugin
from pilotfish.cni.pod import NodePod
from pilotfish.model import ObjectRef
from pilotfish.model.kinds import DAEMON_SET, NODE, POD
from pilotfish.runtime.cluster.api import JSON_PATCH, Api
from pilotfish.runtime.cluster.errors import ApiError, Forbidden, Unauthorized, Unreachable
from pilotfish.runtime.cluster.reflector import Collection, Reflector, Served
from pilotfish.runtime.cni.captures import Captures
from pilotfish.runtime.cni.chained import HostPlugin, keep_chained
from pilotfish.runtime.cni.repair import Repair, Way
from pilotfish.runtime.cni.server import PluginServer
from pilotfish.runtime.errors import MachineError
from pilotfish.runtime.http.served import LOG
from pilotfish.runtime.thread import in_thread

_log = logging.getLogger(__name__)
_LAST_WORDS: Final = 5.0
"""Seconds to learn, at the end, whether the DaemonSet is to stay."""
_LASTS: Final = 75.0
"""Seconds of a watch: there is one for each node, and a pod that lacks its rules waits for some seconds in any case."""
_AGAIN: Final = 1.0


@dataclass(frozen=True, slots=True)
class CniOptions:
    node: str
    namespace: str
    """The DaemonSet's."""
    program: Path
    binaries: Path
    configurations: Path
    socket: Path
    excluded: tuple[str, ...]
    repair: Way
    ready_port: int
    """On the node's loopback."""
    taint: str
    """The key of a taint that goes from the node once pods are captured there; "" for none."""


async def run(access: Access, options: CniOptions) -> None:
    """Until SIGTERM or SIGINT. MachineError if the host's directories can't be written to."""
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    async with Api(access, "pilotfish-cni") as api:
        captures = Captures(api, frozenset(options.excluded))
        repair = Repair(options.repair, api, captures)
        server, ready = PluginServer(captures.handle), asyncio.Event()
        entry = build_plugin(str(options.socket), options.excluded)
        plugin = HostPlugin(options.program, options.binaries, options.configurations, entry)
        # Who calls the plugin must find somebody.
        await server.start(options.socket)
        await in_thread(plugin.install_program)
        status = await _serve_readiness(options.ready_port, ready)
        duties = [
            loop.create_task(keep_chained(plugin, ready)),
            loop.create_task(_follow_pods(api, options.node, repair).run()),
            *([loop.create_task(_untaint(api, options, ready))] if options.taint else []),
        ]
        try:
            await _until(ending, duties)
        finally:
            for duty in duties:
                duty.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
            await repair.close()
            await _leave(api, options, plugin)
            await server.close()
            await status.cleanup()


async def _until(ending: asyncio.Event, duties: Sequence[asyncio.Task[None]]) -> None:
    """Raises what a duty raises, without which the others are of no use."""
    waiting = asyncio.get_running_loop().create_task(ending.wait())
    pending: set[asyncio.Task[Any]] = {waiting, *duties}
    try:
        while waiting in pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        waiting.cancel()


async def _leave(api: Api, options: CniOptions, plugin: HostPlugin) -> None:
    if await _is_uninstalled(api, options.namespace):
        await in_thread(plugin.remove)
    else:
        _log.info("the plugin stays: DaemonSet %s does, and pods wait for its next process", PLUGIN)


async def _is_uninstalled(api: Api, namespace: str) -> bool:
    """Of an API server that is away it is not known, and not assumed: this may be an upgrade."""
    try:
        found = await api.get(item(DAEMON_SET, namespace, PLUGIN), timeout=_LAST_WORDS)
    except (Forbidden, Unauthorized):
        return True  # its account is gone, or that account's role: they go together
    except ApiError as error:
        return error.code == 404
    except MachineError as error:
        _log.warning("whether DaemonSet %s stays is not known: %s", PLUGIN, error)
        return False
    return "deletionTimestamp" in found["metadata"]


def _follow_pods(api: Api, node: str, repair: Repair) -> Reflector:
    def see(ref: ObjectRef, data: bytes | None, version: str) -> None:
        if data is not None:
            repair.see(msgspec.json.decode(data, type=NodePod))

    def tell() -> None:
        if reflector.trouble is not None:
            _log.warning("the node's pods are not followed: %s", reflector.trouble.error)

    of = Collection(POD, field_selector=f"spec.nodeName={node}")
    reflector = Reflector(api, of, Served(), see, tell, _LASTS)
    return reflector


async def _untaint(api: Api, options: CniOptions, ready: asyncio.Event) -> None:
    await ready.wait()
    path = item(NODE, "", options.node)
    while True:
        try:
            taints = (await api.get(path))["spec"].get("taints", [])
            index = next((at for at, taint in enumerate(taints) if taint["key"] == options.taint), None)
            if index is None:
                return
            at = f"/spec/taints/{index}"
            change = [{"op": "test", "path": f"{at}/key", "value": options.taint}, {"op": "remove", "path": at}]
            await api.send("PATCH", path, change, content_type=JSON_PATCH)
            _log.info("node %s has no taint %s any more", options.node, options.taint)
        except Forbidden:
            raise
        except (ApiError, Unreachable) as error:
            _log.warning("the taint %s of node %s stays: %s", options.taint, options.node, error)
            await asyncio.sleep(_AGAIN)


async def _serve_readiness(port: int, ready: asyncio.Event) -> web.AppRunner:
    async def answer(_: web.BaseRequest) -> web.Response:
        if ready.is_set():
            return web.Response(text="ready\n")
        return web.Response(status=503, text="the node has no network configuration yet\n")

    async def alive(_: web.BaseRequest) -> web.Response:
        return web.Response(text="alive\n")

    app = web.Application(logger=LOG)
    app.router.add_get("/readyz", answer)
    app.router.add_get("/healthz", alive)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
    except OSError as error:
        with suppress(OSError):
            await runner.cleanup()
        raise MachineError(
            f"readiness can't be served on 127.0.0.1:{port}: {error.strerror}", "choose another: --ready-port"
        ) from error
    return runner
