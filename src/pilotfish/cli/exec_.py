"""`pilotfish exec`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from pilotfish.cli.failure import Failure
from pilotfish.cli.options import container_option, mesh_option, namespace_option, pod_argument
from pilotfish.cli.session import open_session, require_root, root
from pilotfish.cli.target import find_container, find_pod
from pilotfish.model.wellknown import PROXY_GID, PROXY_UID
from pilotfish.runtime.control.views import ContainerView, PodView


@click.command("exec", options_metavar="[OPTIONS]", short_help="Run a command in a container of a pod.")
@pod_argument
@click.argument("argv", metavar="-- COMMAND [ARGS]...", nargs=-1, type=click.UNPROCESSED)
@container_option
@click.option("-i", "--stdin", is_flag=True, help="Pass standard input. It always is: accepted as kubectl's.")
@click.option("-t", "--tty", is_flag=True, help="Standard input is a terminal.")
@namespace_option
@mesh_option
def command(
    pod: str,
    argv: tuple[str, ...],
    container: str | None,
    stdin: bool,
    tty: bool,
    namespace: str | None,
    mesh: str | None,
) -> None:
    """Run a command where a container of POD runs: its network, files, user, environment and folder.

    POD is NAME, NAME.NAMESPACE or deploy/NAME[.NAMESPACE]. Exits as the command does: 126 if it can't be executed,
    127 if it isn't found, 128 + N for signal N.
    """
    if not argv:
        raise click.UsageError("you must specify a command for the container, after --")
    require_root("a pod is a network namespace, which only root may enter")
    session = open_session(mesh, namespace)
    found = find_pod(session.client.status(), pod, session.namespace)
    where = find_container(found, container)
    if container is None and sum(each.kind == "app" for each in found.containers) > 1:
        names = ", ".join(each.name for each in found.containers)
        click.echo(f'Defaulted container "{where.name}" out of: {names}', err=True)
    _check_running(found, where)
    if tty and not sys.stdin.isatty():
        click.echo("Unable to use a TTY - input is not a terminal or the right kind of file", err=True)
    _run(found, where, argv)


def _check_running(pod: PodView, container: ContainerView) -> None:
    if container.state != "running" or container.pid is None:
        place = f"{pod.name}.{pod.namespace}"
        state = container.reason or container.state
        raise Failure(
            f"container {container.name} in pod {place} is not running ({state}), so nothing can be executed in it; "
            f"'pilotfish logs {place} -c {container.name}' shows why"
        )


def _run(pod: PodView, container: ContainerView, argv: tuple[str, ...]) -> None:
    """Does not return: this process becomes the command."""
    from pilotfish.runtime.linux.netns import NetNs
    from pilotfish.runtime.linux.process import BindMount, ProcessSpec, exec_in
    from pilotfish.runtime.node.claim import find_private

    if path := pod.exec.get(container.name):
        exec_in(ProcessSpec.load(Path(path)), container.pid, argv)
    # The sidecar's container is Envoy: whoever looks around there is the sidecar's user, whom capture lets pass. Envoy
    # sees the machine's files, and asks the agent for names; a command has the pod's, as in Kubernetes.
    env = {"PATH": os.environ.get("PATH", os.defpath)}
    etc = ((Path(pod.directory, "etc", name), f"/etc/{name}") for name in ("resolv.conf", "hosts"))
    mounts = tuple(BindMount(str(source), target, read_only=True) for source, target in etc)
    spec = ProcessSpec(
        argv=(),
        env=env,
        uid=PROXY_UID,
        gid=PROXY_GID,
        netns=NetNs(Path(pod.netns)),
        mounts=mounts,
        hidden=find_private(root()),
    )
    exec_in(spec, None, argv)
