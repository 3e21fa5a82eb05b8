"""`pilotfish why`: what a status or a response flag means, and what led to it here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from pilotfish.cli import complete
from pilotfish.cli.failure import Failure
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import mesh_option, namespace_option
from pilotfish.cli.render.way import render_way
from pilotfish.cli.terminal import nearby, terminal_width

if TYPE_CHECKING:
    from pilotfish.cli.mesh.protocol import Mesh
    from pilotfish.explain.accesslog import AccessLogEntry
    from pilotfish.runtime.control.views import PodView


@click.command("why")
@click.argument("word", metavar="STATUS|FLAG")
@click.argument("pod", metavar="[POD]", required=False, shell_complete=complete.pods)
@click.option("--last", is_flag=True, help="What led to the newest of it, of any pod.")
@click.option("-v", "--verbose", is_flag=True, help="The way with all evidence.")
@namespace_option
@mesh_option
def command(word: str, pod: str | None, last: bool, verbose: bool, namespace: str | None, mesh: Meant) -> None:
    """Say what a status (503) or a response flag (UH) means; with POD or --last, what led to it there.

    Of the newest access log entry with it, the way of the same request is explained as it would go now: which object
    sends it there, and which field of it to change. Access logs are on with meshConfig's accessLogFile: /dev/stdout.

    \b
      pilotfish why UH
      pilotfish why 503 webapp-0.vm
      pilotfish why NR --last
    """
    from pilotfish.explain.flags import FLAGS, STATUSES

    word = word.upper()
    if word not in FLAGS and word not in STATUSES:
        raise Failure(f"{word} is neither a status nor a response flag that is known: {', '.join([*STATUSES, *FLAGS])}")
    if pod is not None or last:
        _explain(word, pod, verbose, namespace, mesh)
    else:
        click.echo("\n".join(_meaning(word)))


def _meaning(word: str, entry: AccessLogEntry | None = None) -> Iterator[str]:
    """Of a status: with what its flags mean, or those of an entry that has it."""
    from pilotfish.explain.flags import FLAGS, STATUSES, flags_of

    if word in STATUSES:
        flags = flags_of(word) if entry is None else entry.response_flags
        yield f"{word}: {STATUSES[word]}"
        yield from (f"  {flag}: {FLAGS[flag].says}" for flag in flags if flag in FLAGS)
        return
    found = FLAGS[word]
    yield f"{word}{f' ({found.status})' if found.status else ''}: {found.says}"
    yield f"  {found.remedy}"
    if found.fields:
        yield f"  fields: {'; '.join(map(str, found.fields))}"


def _explain(word: str, name: str | None, verbose: bool, namespace: str | None, mesh: Meant) -> None:
    from pilotfish.cli.live_scene import read_scene
    from pilotfish.cli.session import NEEDS_ROOT, open_reader
    from pilotfish.explain.report import build_report
    from pilotfish.explain.walk import explain
    from pilotfish.explain.why import ask_of, find_changes

    reader = open_reader(mesh, namespace, NEEDS_ROOT)
    view = reader.mesh.pods()
    pod, entry = _newest(reader.mesh, [reader.find_pod(name)] if name is not None else view.pods, word)
    click.echo("\n".join((*_meaning(word, entry), "", *_request(pod, entry), "")))
    scene, find_owners = read_scene(reader.mesh, view)
    ask, place = ask_of(entry), f"{pod.name}.{pod.namespace}"
    # What a gateway, or the server's side, wrote came to it from elsewhere: its way begins where it came in.
    arrives = entry.is_inbound or scene.stations[place].is_gateway
    caller = scene.at(ask.source)
    source = (caller.name if caller is not None else ask.source) if arrives else place
    trace = explain(scene, None if arrives else scene.stations[place], ask)
    owners = nearby(find_owners(trace))
    click.echo(render_way(build_report(source, ask, trace, owners), verbose, terminal_width()), nl=False)
    changes = tuple(find_changes(trace, entry, owners))
    if changes:
        click.echo(f"\n{click.style('to change:', bold=True)}")
        told = (" ".join(word for word in (owner.object, owner.where) if word) for owner, _ in changes)
        click.echo("\n".join(f"  {whose}  {field}" for whose, (_, field) in zip(told, changes, strict=True)))


def _request(pod: PodView, entry: AccessLogEntry) -> Iterator[str]:
    from pilotfish.explain.flags import say_details

    flags = ",".join(entry.response_flags) or "-"
    asked = f"{entry.method} {entry.authority}{entry.path}" if entry.method else f"TCP {entry.downstream_local_address}"
    side = "was asked" if entry.is_inbound else "asked"
    yield f"{entry.start_time} {pod.name}.{pod.namespace} {side}: {asked} → {entry.response_code or '-'} {flags}"
    details = entry.response_code_details
    reasons = (entry.connection_termination_details, entry.upstream_transport_failure_reason)
    if details:
        yield f"  {say_details(details)}"
    yield from (f"  {reason}" for reason in reasons if reason and reason not in details)


def _newest(mesh: Mesh, pods: Sequence[PodView], word: str) -> tuple[PodView, AccessLogEntry]:
    logs = zip(pods, mesh.proxy_logs(pods), strict=True)
    found = [(entry.start_time, pod, entry) for pod, lines in logs if (entry := _newest_of(lines, word)) is not None]
    if not found:
        whose = f"the access log of {pods[0].name}.{pods[0].namespace} has no" if len(pods) == 1 else "no log has an"
        raise Failure(f"{whose} entry with {word}; it is written with meshConfig's accessLogFile: /dev/stdout")
    _, pod, entry = max(found, key=lambda each: each[0])
    return pod, entry


def _newest_of(lines: Sequence[str], word: str) -> AccessLogEntry | None:
    from pilotfish.explain.accesslog import parse_access_log
    from pilotfish.explain.why import is_about

    entries = (entry for line in reversed(lines) if (entry := parse_access_log(line)) is not None)
    return next((entry for entry in entries if is_about(entry, word)), None)
