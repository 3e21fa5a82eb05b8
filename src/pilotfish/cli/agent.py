"""`pilotfish agent`: one proxy's agent and Envoy, in the network namespace that it is started in.

Root is not needed: every port is above 1023. As root, Envoy runs as uid 1337. As uid 1337, as Istio's own agent does,
both run as that. As any other user both run as that user; then captured traffic would loop, since the capture rules let
only uid 1337 pass, so that is for a namespace without capture.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pilotfish.cli.failure import Failure
from pilotfish.model.wellknown import AUTHORITY_ROOTS, PODINFO_DIRECTORY, PROXY_DIRECTORY, PROXY_UID, TOKEN_FILE

if TYPE_CHECKING:
    from collections.abc import Callable

    from pilotfish.runtime.agent import Agent, AgentSpec


@click.command(name="agent", short_help="Run one sidecar's agent alone.")
@click.option("--pod", "name", envvar="POD_NAME", metavar="NAME", required=True, help="The pod's name. [$POD_NAME]")
@click.option(
    "-n",
    "--namespace",
    envvar="POD_NAMESPACE",
    default="default",
    show_default=True,
    metavar="NAMESPACE",
    help="The pod's namespace. [$POD_NAMESPACE]",
)
@click.option(
    "--ip",
    "addresses",
    multiple=True,
    envvar="INSTANCE_IP",
    required=True,
    metavar="ADDRESS",
    help="The pod's address; give it once for each. [$INSTANCE_IP]",
)
@click.option("-l", "--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label of the pod.")
@click.option("--gateway", is_flag=True, help="It is a gateway: traffic comes to it by its own address.")
@click.option(
    "--podinfo",
    default=PODINFO_DIRECTORY,
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The pod's labels and annotations, in the files of a downward API volume.",
)
@click.option("--domain", default="", metavar="DOMAIN", help="DNS domain. Default: NAMESPACE.svc.cluster.local.")
@click.option(
    "--discovery-address",
    default="",
    metavar="HOST:PORT",
    help="Where Envoy's configuration comes from, an address or a name. Default: the proxy configuration's "
    "discoveryAddress.",
)
@click.option(
    "--monitoring-address",
    default=None,
    metavar="HOST:PORT",
    help='Where names come from; "" serves none. Default: port 15014 of discovery.',
)
@click.option(
    "--ca-address",
    envvar="CA_ADDR",
    default="",
    metavar="HOST:PORT",
    help="Who signs the certificate. Default: discovery, if it is not port 15010 and there is a token. [$CA_ADDR]",
)
@click.option(
    "--token",
    default=TOKEN_FILE,
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="The pod's service-account token, read for each certificate.",
)
@click.option(
    "--root-cert",
    "authority_roots",
    default=AUTHORITY_ROOTS,
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Whom to trust that it is the authority.",
)
@click.option(
    "--directory",
    default=PROXY_DIRECTORY,
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Gets envoy-rev0.json and its successors.",
)
@click.option("--mesh-config", type=click.Path(path_type=Path), metavar="FILE", help="The meshConfig, YAML.")
@click.option(
    "--proxy-config",
    envvar="PROXY_CONFIG",
    default="",
    metavar="YAML",
    help="Laid over the meshConfig's defaultConfig. [$PROXY_CONFIG]",
)
@click.option(
    "--workload-group",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Register this machine by the WorkloadGroup in it: its namespace, labels and probe.",
)
@click.option(
    "--log", type=click.Path(path_type=Path), metavar="FILE", help="Envoy's output. Default: standard output."
)
@click.option("--log-level", default="warning", show_default=True, metavar="LEVEL", help="Envoy's.")
@click.option("--component-log-level", default="", metavar="PART:LEVEL,...", help="Of parts of Envoy.")
def command(**arguments: Any) -> None:
    """Run one proxy's agent and Envoy, in the current network namespace.

    It serves 15020 (readiness, metrics, probes) and 15053 (DNS), and keeps Envoy running. SIGTERM or SIGINT drains
    inbound traffic, for terminationDrainDuration at most, and ends both; a second one ends them at once. In a cluster
    it takes all of that time, as others learn late that the pod ends, unless it was told to drain before
    (`agent-request drain`); with EXIT_ON_ZERO_ACTIVE_CONNECTIONS it takes as long as somebody calls.

    What Istio's injector writes is understood: node metadata from ISTIO_META_* and ISTIO_METAJSON_*, rewritten probes
    from ISTIO_KUBE_APP_PROBERS, workers from ISTIO_CPU_LIMIT. On a machine that is no pod, --workload-group registers
    it as a WorkloadEntry for as long as it is connected, and takes it out of service while the group's probe fails.
    """
    from pilotfish.cli.agent_spec import build_spec
    from pilotfish.runtime.errors import MachineError
    from pilotfish.runtime.garbage import look_seldom
    from pilotfish.runtime.linux.orphans import is_first_process

    if is_first_process():
        # Nobody else's default holds for it: a pod that is deleted while this starts would wait for its whole grace.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        spec = build_spec(**arguments)
        look_seldom()
        asyncio.run(_run(spec))
    except (MachineError, ValueError) as error:
        raise Failure(str(error)) from error


async def _run(spec: AgentSpec) -> None:
    from pilotfish.agent.identity import in_cluster
    from pilotfish.runtime.agent import Agent, AgentHost, machine_resolvers
    from pilotfish.runtime.linux.orphans import reaped

    async with AgentHost(machine_resolvers(), PROXY_UID, alone=not in_cluster(os.environ)) as host, reaped():
        agent = Agent(spec, host, _tell())
        loop = asyncio.get_running_loop()
        ending: list[asyncio.Task[None]] = []
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lambda: ending.append(loop.create_task(_end(agent, bool(ending)))))
        try:
            await agent.start()
            await agent.wait_stopped()
        finally:
            await agent.stop(loop.time())
            await asyncio.gather(*ending)


async def _end(agent: Agent, at_once: bool) -> None:
    if at_once:
        await agent.stop(asyncio.get_running_loop().time())
    else:
        await agent.end()


def _tell() -> Callable[[Agent], None]:
    """Says on standard error what changed, once each."""
    last: tuple[str, ...] = ()

    def on_change(agent: Agent) -> None:
        nonlocal last
        status = agent.status
        text = "ready" if status.ready else f"{status.reason or 'not ready'}: {status.message}"
        said = (text, *(f"a certificate can't be used: {each.why}" for each in status.unusable_files))
        for line in (line for line in said if line not in last):
            click.echo(f"{agent.spec.proxy}: {line}", err=True)
        last = said

    return on_change
