"""Until an installation is there: what it waits for, and why it waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Final

from pilotfish.cluster.paths import collection
from pilotfish.install.inventory import kind_of, ref_of
from pilotfish.install.names import Object
from pilotfish.install.progress import is_workload, pod_trouble, unready
from pilotfish.model.kinds import POD
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.installation import read
from pilotfish.runtime.errors import MachineError

_PAUSE: Final = 0.25
"""Seconds between two looks."""


class NotReady(MachineError):
    """What was waited for did not come in time."""


async def until_ready(api: Api, wanted: Iterable[Object], timeout: float) -> AsyncIterator[str]:
    """What is waited for, each time that it is something else. Raises NotReady."""
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout
    ahead = [ref_of(each) for each in wanted]
    said = ""
    while ahead:
        live = await read(api, ahead[0])
        lacking = unready(live) if live is not None else "is gone"
        if not lacking:
            ahead.pop(0)
            continue
        lacks = f"{ahead[0].kind} {ahead[0].name} {lacking}"
        if loop.time() > until:
            why = await explain(api, live) if live is not None else ""
            raise NotReady(f"after {timeout:.0f} s {lacks}{f': {why}' if why else ''}", "mend it, and run this again")
        if lacks != said:
            said = lacks
            yield lacks
        await asyncio.sleep(_PAUSE)


async def explain(api: Api, live: Object) -> str:
    """Why a workload is not what it is to be, as its pods say it; "" where they say nothing."""
    if not is_workload(kind_of(live)):
        return ""
    labels = live["spec"]["selector"]["matchLabels"]
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    async for page in api.pages(collection(POD, live["metadata"]["namespace"]), labelSelector=selector):
        for pod in page.items:
            if trouble := pod_trouble(pod):
                return trouble
    return ""
