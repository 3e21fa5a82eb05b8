"""Replicas of discovery that share an authority in a Secret of a real API server."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pilotfish.config import load
from pilotfish.config.desired import DesiredState, update
from pilotfish.identity.authority import load_all
from pilotfish.identity.requests import build_request, new_key, parse_request
from pilotfish.install.names import AUTHORITY
from pilotfish.model.identity import Identity
from pilotfish.runtime.cluster.access import find_access
from pilotfish.runtime.cluster.api import Api
from pilotfish.runtime.cluster.authority import SharedAuthority
from pilotfish.runtime.cluster.leader import Acting
from pilotfish.runtime.discovery.authority import AuthorityKeeper
from pilotfish.runtime.errors import MachineError
from tests.certificates import issue, secret
from tests.cluster.api_server import ApiServer
from tests.cluster.conftest import MakeApiServer
from tests.cluster.kubectl import Kubectl
from tests.freezing import freeze
from tests.waiting import until

ROOT = issue("corp root")
WEB = Identity("cluster.local", "vm", "web")
LABELS = {"app.kubernetes.io/managed-by": "pilotfish"}


@dataclass
class Replica:
    keeper: AuthorityKeeper
    shared: SharedAuthority
    api: Api

    async def signer(self) -> str:
        """Who signs what it is asked for now."""
        request = parse_request(build_request(new_key()))
        chain = await self.keeper.sign(request, WEB, 3600)
        return load_all(chain)[0].issuer.rfc4514_string()

    @property
    def roots(self) -> bytes:
        return self.keeper.state.trusted


@asynccontextmanager
async def replicas(
    kubeconfig: Path, namespace: str, *, number: int = 2, spread: float = 1.0, leads: bool = True
) -> AsyncIterator[list[Replica]]:
    """The first of them leads."""
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(number):
            api = await stack.enter_async_context(Api(find_access(kubeconfig)))
            shared = SharedAuthority(api, namespace, LABELS)
            shared.spread = spread
            made.append(Replica(AuthorityKeeper(None, None, shared), shared, api))
        await asyncio.gather(*(each.keeper.load(DesiredState()) for each in made))
        tasks = [asyncio.create_task(run()) for each in made for run in (each.keeper.run, each.shared.run)]
        if leads:
            acting = Acting(made[0].api, lambda: True)
            tasks.append(asyncio.create_task(made[0].shared.lead(acting, made[0].keeper.chosen)))
        try:
            yield made
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for each in made:
                each.keeper.close()


def kept(kubectl: Kubectl) -> dict[str, Any]:
    data = kubectl.get(f"secret/{AUTHORITY}")["data"]
    found: dict[str, Any] = json.loads(base64.b64decode(data["authority.json"]))
    return found


def all_trust(made: list[Replica], number: int) -> Callable[[], bool]:
    """That number of roots, the same."""
    return lambda: len({each.roots for each in made}) == 1 and len(load_all(made[0].roots)) == number


async def test_those_that_start_at_once_have_one_root(api_server: ApiServer, kubectl: Kubectl) -> None:
    async with replicas(api_server.kubeconfig, kubectl.namespace, number=5, leads=False) as made:
        assert len({each.roots for each in made}) == 1
        assert len({await each.signer() for each in made}) == 1
        labels = kubectl.get(f"secret/{AUTHORITY}")["metadata"]["labels"]
        assert labels == LABELS
    async with replicas(api_server.kubeconfig, kubectl.namespace, number=1) as later:
        assert later[0].roots == made[0].roots


def outside(replica: Replica) -> SharedAuthority:
    """Whoever may write the Secret, as `pilotfish identity rotate` does."""
    made = SharedAuthority(replica.api, replica.shared.namespace, LABELS)
    made.spread = replica.shared.spread
    return made


@pytest.mark.parametrize("by_a_replica", [True, False])
async def test_a_root_that_somebody_makes_is_everybody_s(
    api_server: ApiServer, kubectl: Kubectl, by_a_replica: bool
) -> None:
    async with replicas(api_server.kubeconfig, kubectl.namespace) as made:
        first, second = made
        before = await first.signer()
        await (second.keeper.rotate() if by_a_replica else outside(second).rotate())
        await until("both trust both", all_trust(made, 2))
        assert await first.signer() == before, "not everybody knows the new root yet"
        await until("both sign with the new one", lambda: len({each.keeper.state.next for each in made} | {None}) == 1)
        after = {await each.signer() for each in made}
        assert len(after) == 1
        assert before not in after
        await until("it is kept", lambda: kept(kubectl).get("next") is None)


async def test_what_is_due_is_done_while_the_api_server_is_away(make_api_server: MakeApiServer) -> None:
    with make_api_server() as server:
        async with replicas(server.api.kubeconfig, "default", spread=2.0) as made:
            await made[0].keeper.rotate()
            await until("both trust both", all_trust(made, 2))
            freeze(server.server.pid)
            try:
                await until("both sign with it", lambda: not any(each.keeper.state.next for each in made))
                assert len({await each.signer() for each in made}) == 1
            finally:
                server.server.send(signal.SIGCONT)


async def test_a_secret_that_is_deleted_is_written_again(api_server: ApiServer, kubectl: Kubectl) -> None:
    async with replicas(api_server.kubeconfig, kubectl.namespace) as made:
        roots = made[0].roots
        kubectl("delete", f"secret/{AUTHORITY}")
        await until("it is back", lambda: kubectl.run("get", f"secret/{AUTHORITY}", check=False).returncode == 0)
        assert base64.b64decode(kubectl.get(f"secret/{AUTHORITY}")["data"]["root-cert.pem"]) == roots
        await made[1].keeper.rotate()
        await until("both follow still", all_trust(made, 2))


async def test_an_authority_that_is_plugged_in_signs_everywhere_and_its_key_is_kept_nowhere_else(
    api_server: ApiServer, kubectl: Kubectl
) -> None:
    keys = {"ca-cert_pem": ROOT.pem, "ca-key_pem": ROOT.key, "root-cert_pem": ROOT.pem, "cert-chain_pem": ""}
    loaded = load(secret("cacerts", "istio-system", **keys), "cacerts", "istio-system")
    desired = update(DesiredState(), {"cacerts": loaded})
    async with replicas(api_server.kubeconfig, kubectl.namespace) as made:
        for each in made:
            each.keeper.follow(desired)
        await until("both trust both", all_trust(made, 2))
        await until("both sign with it", lambda: not any(each.keeper.state.next for each in made))
        assert {await each.signer() for each in made} == {"CN=corp root"}
        await until("it is kept", lambda: kept(kubectl)["current"]["certificate"] == ROOT.pem)
        assert "key" not in kept(kubectl)["current"]
        assert ROOT.key not in json.dumps(kept(kubectl))
        with pytest.raises(MachineError, match="change it there"):
            await outside(made[0]).rotate()


async def test_a_secret_that_holds_something_else_is_left_alone(api_server: ApiServer, kubectl: Kubectl) -> None:
    kubectl("create", "secret", "generic", AUTHORITY, "--from-literal=a=b")
    with pytest.raises(MachineError, match="holds no authority; restore it, or delete it"):
        async with replicas(api_server.kubeconfig, kubectl.namespace, number=1):
            pass
    assert kubectl.get(f"secret/{AUTHORITY}")["data"] == {"a": base64.b64encode(b"b").decode()}
