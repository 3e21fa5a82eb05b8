"""`pilotfish top`."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

import click

from pilotfish.cli import complete
from pilotfish.cli.failure import Failure
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import machine_option, namespace_option, selector_option
from pilotfish.cli.render.table import Table, table
from pilotfish.cli.selector import parse_selector, selects
from pilotfish.cli.session import open_session, require_root
from pilotfish.cli.target import find_pod
from pilotfish.runtime.control.views import PodView

_SPAN = 0.5
"""Seconds over which the use of the CPU is measured."""


@dataclass(frozen=True, slots=True)
class Use:
    pod: PodView
    container: str
    """"" for all that runs in the pod, commands of `exec` too."""
    cores: float
    memory: int


class _Group(click.Group):
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(
            ctx, {"pod": "pods", "po": "pods", "node": "nodes", "no": "nodes"}.get(cmd_name, cmd_name)
        )


@click.group("top", cls=_Group)
@machine_option
def command(mesh: Meant) -> None:
    """Show how much CPU and memory pods, or the machine, use just now."""


@command.command("pods")
@click.argument("pod", metavar="[POD]", required=False, shell_complete=complete.pods)
@click.option("--containers", is_flag=True, help="Each container by itself.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Pods of all namespaces.")
@click.option("--sort-by", type=click.Choice(["cpu", "memory"]), help="The most first.")
@click.option("--no-headers", is_flag=True, help="Leave the header line out.")
@selector_option
@namespace_option
@machine_option
def pods(
    pod: str | None,
    containers: bool,
    all_namespaces: bool,
    sort_by: str | None,
    no_headers: bool,
    selector: str,
    namespace: str | None,
    mesh: Meant,
) -> None:
    """Show what pods use: CPU over half a second, and memory, what is shared by halves."""
    require_root("the processes of pods are other users'")
    session = open_session(mesh, namespace)
    view = session.client.status()
    if pod is not None:
        chosen = [find_pod(view, pod, session.namespace)]
    else:
        labels = parse_selector(selector)
        places = {each.namespace for each in view.pods} if all_namespaces else {session.namespace}
        chosen = [each for each in view.pods if each.namespace in places and selects(labels, each.labels)]
    uses = _measure(chosen, containers)
    if sort_by:
        uses.sort(key=lambda use: -(use.cores if sort_by == "cpu" else use.memory))
    if not uses:
        raise Failure("No resources found.")
    click.echo(_render(uses, containers, all_namespaces).text(header=not no_headers), nl=False)


@command.command("nodes")
@click.option("--no-headers", is_flag=True, help="Leave the header line out.")
@machine_option
def nodes(no_headers: bool, mesh: Meant) -> None:
    """Show what the machine uses, all that runs on it."""
    from pilotfish.runtime.linux.usage import read_machine

    open_session(mesh)
    before = read_machine()
    time.sleep(_SPAN)
    busy, total, used, memory = read_machine()
    share = (busy - before[0]) / max(total - before[1], 1e-9)
    cores = share * (os.cpu_count() or 1)
    row = (os.uname().nodename, _cores(cores), f"{share:.0%}", _bytes(used), f"{used / memory:.0%}")
    header = ("NAME", "CPU(cores)", "CPU(%)", "MEMORY(bytes)", "MEMORY(%)")
    click.echo(table(header, [row]).text(header=not no_headers), nl=False)


def _measure(pods: Iterable[PodView], containers: bool) -> list[Use]:
    """Of each pod, or of each of its containers that run."""
    from pilotfish.runtime.linux.usage import find_ancestor, list_processes, read_memory

    before = list_processes()
    began = time.monotonic()
    time.sleep(_SPAN)
    after = list_processes()
    span = time.monotonic() - began
    uses = []
    for pod in pods:
        netns = _inode(pod.netns)
        inside = [process for process in after.values() if process.netns == netns]
        groups: dict[str, list[int]] = {} if containers else {"": [process.pid for process in inside]}
        if containers:
            names = {each.pid: each.name for each in pod.containers if each.pid is not None}
            for process in inside:
                root = find_ancestor(process.pid, names, after)
                if root is not None:
                    groups.setdefault(names[root], []).append(process.pid)
        for name, pids in groups.items():
            spent = sum(after[pid].cpu - (before[pid].cpu if pid in before else 0) for pid in pids)
            uses.append(Use(pod, name, spent / span, read_memory(pids)))
    return uses


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino  # noqa: PTH116
    except OSError:
        return -1  # it is just going


def _render(uses: Iterable[Use], containers: bool, everywhere: bool) -> Table:
    header = ("POD", "NAME") if containers else ("NAME",)
    rows = [
        (*((use.pod.namespace,) if everywhere else ()), use.pod.name, *((use.container,) if containers else ()),
         _cores(use.cores), _bytes(use.memory))
        for use in uses
    ]  # fmt: skip
    return table((*(("NAMESPACE",) if everywhere else ()), *header, "CPU(cores)", "MEMORY(bytes)"), rows)


def _cores(cores: float) -> str:
    return f"{round(cores * 1000)}m"


def _bytes(count: int) -> str:
    return f"{round(count / 1024 / 1024)}Mi"
