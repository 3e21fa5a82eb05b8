"""Taking an installation away, and what is to be known before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pilotfish.install.inventory import (
    DEFINITION,
    ENDED_FIRST,
    SELECTOR,
    is_foreign_in_namespace,
    is_ours,
    kind_of,
    ref_of,
)
from pilotfish.install.names import Object
from pilotfish.install.progress import is_workload
from pilotfish.model import Kind
from pilotfish.model.kinds import (
    CONFIG_MAP,
    DAEMON_SET,
    DEPLOYMENT,
    INGRESS,
    JOB,
    KINDS,
    NAMESPACE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    kind_named,
)
from pilotfish.model.wellknown import ROOT_NAMESPACE
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.installation import Step, listed, read, remove

_PAUSE: Final = 0.25
"""Seconds between two looks whether pods have ended."""
_HELD: Final = (
    CONFIG_MAP, SECRET, SERVICE, DEPLOYMENT, STATEFUL_SET, DAEMON_SET, JOB, POD, PERSISTENT_VOLUME_CLAIM,
    SERVICE_ACCOUNT, INGRESS, *(kind for kind in KINDS if kind.is_istio),
)  # fmt: skip
"""What people put into the mesh's own namespace."""


@dataclass(frozen=True, slots=True)
class Definition:
    """Of one of Istio's kinds, and ours."""

    definition: Object
    kind: Kind
    objects: int
    """That are lost with it."""


@dataclass(frozen=True, slots=True)
class OwnNamespace:
    """That of the mesh, made by an installation."""

    object: Object
    held: str
    """What of others is in it, so that it stays; "" where nothing is."""

    @property
    def name(self) -> str:
        return str(self.object["metadata"]["name"])


async def find_definitions(api: Api) -> tuple[Definition, ...]:
    found = []
    for each in await listed(api, DEFINITION, selector=SELECTOR):
        kind = kind_named(each["spec"]["names"]["kind"], each["spec"]["group"])
        found.append(Definition(each, kind, len(await listed(api, kind))))
    return tuple(found)


async def find_namespace(api: Api, name: str = ROOT_NAMESPACE) -> OwnNamespace | None:
    """None where there is none, or somebody else made it."""
    found = await read(api, NAMESPACE.ref("", name))
    if found is None or not is_ours(found):
        return None
    held = [ref_of(each) for kind in _HELD for each in await listed(api, kind, name) if is_foreign_in_namespace(each)]
    more = f" and {len(held) - 3} more" if len(held) > 3 else ""
    return OwnNamespace(found, ", ".join(f"{ref.kind} {ref.name}" for ref in held[:3]) + more)


async def take_away(
    api: Api, goes: Sequence[Object], definitions: Iterable[Definition], namespace: OwnNamespace | None, timeout: float
) -> AsyncIterator[Step]:
    """`timeout`: seconds for its pods to end; the rest goes all the same after it."""
    first = [each for each in goes if kind_of(each) in ENDED_FIRST]
    async for step in remove(api, first):
        yield step
    await _until_ended(api, [each for each in first if is_workload(kind_of(each))], timeout)
    async for step in remove(api, [each for each in goes if each not in first]):
        yield step
    async for step in remove(api, [each.definition for each in definitions]):
        yield step
    if namespace is not None and not namespace.held:
        async for step in remove(api, [namespace.object]):
            yield step


async def _until_ended(api: Api, workloads: Sequence[Object], timeout: float) -> None:
    """Discovery that still runs would write again what is removed next."""
    loop = asyncio.get_running_loop()
    until = loop.time() + timeout
    for each in workloads:
        labels = each["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        while loop.time() < until and await listed(api, POD, each["metadata"]["namespace"], selector):
            await asyncio.sleep(_PAUSE)
