"""Several replicas at a real API server: one leads, does its duties, and stops in time."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from pilotfish.cluster.lease import Terms
from pilotfish.runtime.cluster.access import find_access
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.leader import Acting, Leader
from tests.cluster.api_server import ApiServer
from tests.cluster.conftest import MakeApiServer
from tests.cluster.kubectl import Kubectl
from tests.freezing import freeze
from tests.waiting import until

QUICK = Terms(duration=3, deadline=2, retry=0.3)


class Work:
    """Notes who does it, and finds out when two do at a time."""

    def __init__(self) -> None:
        self.doing: list[str] = []
        self.most = 0

    def duty(self, name: str) -> Callable[[Acting], asyncio.Future[None]]:
        async def work(acting: Acting) -> None:
            self.doing.append(name)
            self.most = max(self.most, len(self.doing))
            try:
                await asyncio.Event().wait()
            finally:
                self.doing.remove(name)

        return lambda acting: asyncio.ensure_future(work(acting))


@asynccontextmanager
async def replica(kubeconfig: Path, namespace: str, name: str, work: Work) -> AsyncIterator[Leader]:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/leader"
    async with Api(find_access(kubeconfig)) as api:
        leader = Leader(api, path, {"work": work.duty(name)}, me=name, terms=QUICK)
        running = asyncio.create_task(leader.run())
        try:
            yield leader
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running


async def test_who_ends_in_order_is_followed_at_once(api_server: ApiServer, kubectl: Kubectl) -> None:
    work, where = Work(), (api_server.kubeconfig, kubectl.namespace)
    async with AsyncExitStack() as rest:
        async with replica(*where, "a", work) as first:
            await until("it works", lambda: work.doing == ["a"])
            second = await rest.enter_async_context(replica(*where, "b", work))
            await until("it knows who leads", lambda: second.holder.startswith("a_"))
            assert first.leads
            assert not second.leads
        await until("the other works", lambda: work.doing == ["b"], 3 * QUICK.retry + 1)
        assert work.most == 1
    lease = kubectl.get("lease/leader")["spec"]
    assert lease["holderIdentity"] == ""
    assert lease["leaseTransitions"] == 1


async def test_who_can_t_renew_stops_before_another_may_begin(make_api_server: MakeApiServer) -> None:
    work = Work()
    with make_api_server() as server:
        where = (server.api.kubeconfig, "default")
        async with replica(*where, "a", work) as first, replica(*where, "b", work) as second:
            await until("one works", lambda: len(work.doing) == 1)
            freeze(server.server.pid)
            try:
                await until("nobody works", lambda: not work.doing, QUICK.deadline + 1)
                assert not first.leads
                assert not second.leads
            finally:
                server.server.send(signal.SIGCONT)
            await until("one works again", lambda: len(work.doing) == 1, 20)
            assert work.most == 1


async def test_a_permission_that_is_missing_is_named(api_server: ApiServer, kubectl: Kubectl) -> None:
    work = Work()
    async with replica(api_server.user("nobody"), kubectl.namespace, "a", work) as leader:
        await until("it says why", lambda: leader.trouble)
        assert "forbids nobody to get" in leader.trouble
        assert "leases" in leader.trouble
        assert not work.doing
