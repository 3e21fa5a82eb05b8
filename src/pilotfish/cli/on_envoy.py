"""`pilotfish test --on-envoy`: the cases' requests, sent for real through a mesh that is made of the manifests."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from pilotfish.cli.failure import Failure
from pilotfish.cli.mesh.machine import Machine
from pilotfish.cli.session import require_root, root
from pilotfish.runtime.control.client import Client
from pilotfish.runtime.control.views import PodView, StatusView
from pilotfish.runtime.echo.calls import Result, build_calls, client_command, read_results, server_command
from pilotfish.runtime.node import CannotStart, ProgressLine, UpOptions, detach

if TYPE_CHECKING:
    from pilotfish.explain.ask import Ask
    from pilotfish.explain.cases import Expected
    from pilotfish.explain.observed import Logs, Sent
    from pilotfish.explain.trace import Outcome, Trace
    from pilotfish.offline.world import World

_MISSED: Final = 1e-6
"""The probability that an outcome is not seen though it happens as often as is said."""
_FEWEST, _MOST = 3, 1000
"""Requests for one case."""
_LOGGED: Final = 3.0
"""Seconds for which access logs are waited for."""
_DOWN: Final = 60.0


@contextmanager
def trial_mesh(world: World, namespace: str) -> Iterator[TrialMesh]:
    """Needs root. Failure where it can't be made."""
    from pilotfish.offline.standin import log_all, stand_in

    require_root("the mesh that the requests are sent through is made of network namespaces")
    with tempfile.TemporaryDirectory(prefix="pilotfish-test-") as made:
        manifests, config = Path(made, "mesh.json"), Path(made, "mesh-config.json")
        objects = list(stand_in(world, server_command))
        manifests.write_bytes(msgspec.json.encode({"apiVersion": "v1", "kind": "List", "items": objects}))
        config.write_bytes(msgspec.json.encode(log_all(world.desired.mesh_config), enc_hook=str))
        options = UpOptions(
            name=f"test-{os.getpid()}",
            sources=(str(manifests),),
            state_root=root(),
            mesh_config=str(config),
            namespace=namespace,
        )
        said: list[ProgressLine] = []
        try:
            code = detach(options, said.append)
        except CannotStart as error:
            raise Failure(f"the mesh for --on-envoy can't be made: {error}") from error
        client = Client(options.directory)
        try:
            if code:
                raise Failure(f"the mesh for --on-envoy does not become ready: {said[-1].text if said else ''}")
            status = client.status()
            yield TrialMesh(Machine(status.mesh), client, status)
        finally:
            client.down(_DOWN)


@dataclass(frozen=True, slots=True)
class TrialMesh:
    mesh: Machine
    client: Client
    status: StatusView

    def differences(
        self, source: str, namespace: str, ask: Ask, foreseen: Trace, expected: list[Expected]
    ) -> list[str]:
        """Between what is expected and what becomes of as many requests as it takes to see all of it. Shares are not
        compared."""
        from pilotfish.cli.target import find_pod
        from pilotfish.explain.cases import differences
        from pilotfish.explain.trace import Trace

        pod = None if source == "outside" else find_pod(self.status, source, namespace)
        asks = [ask] * count_requests(foreseen, expected)
        results = self.mesh.send(pod, asks) if pod is not None else self._perform_outside(asks)
        seen = Counter(self._outcomes(pod, results))
        outcomes = tuple(replace(outcome, probability=count / len(asks)) for outcome, count in seen.items())
        observable = [msgspec.structs.replace(each, probability=None, cause=None) for each in expected]
        return list(differences(Trace((), outcomes), observable))

    def _perform_outside(self, asks: list[Ask]) -> list[Result]:
        """From this machine, which reaches pods: at the gateways that have the port."""
        gateways = {address for pod in self.status.pods if pod.gateway for address in pod.addresses}
        served = (each.endpoints for each in self.client.frontends() if each.port == asks[0].port)
        places = [(address, port) for endpoints in served for address, port in endpoints if address in gateways]
        if not places:
            raise Failure(f"no gateway has port {asks[0].port}, so nothing outside of the mesh can call it")
        turns = zip(asks, itertools.cycle(places), strict=False)
        calls = build_calls(replace(ask, address=address, port=port) for ask, (address, port) in turns)
        done = subprocess.run(client_command(), input=calls, capture_output=True, check=True)
        return read_results(done.stdout)

    def _outcomes(self, pod: PodView | None, results: list[Result]) -> Iterator[Outcome]:
        names = {each.name: f"{each.name}.{each.namespace}" for each in self.status.pods}
        client = f"{pod.name}.{pod.namespace}" if pod is not None else ""
        sent = [_sent(result, names) for result in results]
        logs = self._read_logs()
        # Of what goes past a proxy nothing may be written.
        deadline = time.monotonic() + (_LOGGED if pod is None or pod.captured else _LOGGED / 10)
        while time.monotonic() < deadline and not all(_is_complete(logs, client, each) for each in sent):
            time.sleep(0.05)  # Envoy writes its log when it has time
            logs = self._read_logs()
        return (logs.outcome(client, each) for each in sent)

    def _read_logs(self) -> Logs:
        from pilotfish.explain.accesslog import parse_access_log
        from pilotfish.explain.observed import Logs

        entries = {
            f"{pod.name}.{pod.namespace}": [entry for entry in map(parse_access_log, lines) if entry is not None]
            for pod, lines in zip(self.status.pods, self.mesh.proxy_logs(self.status.pods), strict=True)
        }
        pods = {at: f"{each.name}.{each.namespace}" for each in self.status.pods for at in each.addresses}
        return Logs(entries, pods)


def count_requests(foreseen: Trace, expected: list[Expected]) -> int:
    """So many that what is foreseen and what is expected is seen almost surely, if it happens as often as that."""
    shares = [outcome.probability for outcome in foreseen.outcomes]
    shares += [each.probability for each in expected if each.probability]
    rarest = min((share for share in shares if share > 0), default=1.0)
    needed = math.log(_MISSED) / math.log(1 - rarest) if rarest < 1 - _MISSED else 1
    return min(max(math.ceil(needed), _FEWEST), _MOST)


def _sent(result: Result, names: dict[str, str]) -> Sent:
    from pilotfish.cli.live_request import end_of
    from pilotfish.explain.observed import Sent

    return Sent(end_of(result), result.status, names.get(result.echo, result.echo), result.source, result.target)


def _is_complete(logs: Logs, client: str, sent: Sent) -> bool:
    """It is written which way it went, and of an answer that no app gave, whose it is."""
    outcome = logs.outcome(client, sent)
    return not sent.source or bool(outcome.cluster if sent.pod else outcome.pod)
