"""`pilotfish why`: what a status or a response flag means, and what led to it here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pilotfish.cli import complete
from pilotfish.cli.failure import Failure
from pilotfish.cli.options import mesh_option, namespace_option
from pilotfish.cli.render.way import render_way

if TYPE_CHECKING:
    from pilotfish.explain.accesslog import AccessLogEntry
    from pilotfish.runtime.control.views import PodView

_PROXY = "proxy"


@click.command("why")
@click.argument("word", metavar="STATUS|FLAG")
@click.argument("pod", metavar="[POD]", required=False, shell_complete=complete.pods)
@click.option("-v", "--verbose", is_flag=True, help="The way with all evidence.")
@namespace_option
@mesh_option
def command(word: str, pod: str | None, verbose: bool, namespace: str | None, mesh: str | None) -> None:
    """Say what a status (503) or a response flag (UH) means; with POD, what led to it there.

    Of the pod's newest access log entry with it, the way of the same request is explained as it would go now: which
    object sends it there. Access logs are on with meshConfig's accessLogFile: /dev/stdout.

    \b
      pilotfish why UH
      pilotfish why 503 webapp-0.vm
    """
    from pilotfish.explain.why import FLAGS, STATUSES

    word = word.upper()
    if word not in FLAGS and word not in STATUSES:
        raise Failure(f"{word} is neither a status nor a response flag that is known: {', '.join([*STATUSES, *FLAGS])}")
    click.echo("\n".join(_meaning(word)))
    if pod is not None:
        _explain(word, pod, verbose, namespace, mesh)


def _meaning(word: str) -> Iterator[str]:
    from pilotfish.explain.why import FLAGS, STATUSES, flags_of

    if word in STATUSES:
        yield f"{word}: {STATUSES[word]}"
    for flag in flags_of(word):
        found = FLAGS[flag]
        shown = f" ({found.status})" if found.status and word not in STATUSES else ""
        yield f"{'  ' if word in STATUSES else ''}{flag}{shown}: {found.says}; {found.remedy}"


def _explain(word: str, name: str, verbose: bool, namespace: str | None, mesh: str | None) -> None:
    from pilotfish.cli.live_scene import read_scene
    from pilotfish.cli.session import open_session, require_root
    from pilotfish.cli.target import find_pod
    from pilotfish.explain.document import build_document
    from pilotfish.explain.walk import explain
    from pilotfish.explain.why import ask_of

    require_root("the rules and the proxies of pods are inside of their network namespaces")
    session = open_session(mesh, namespace)
    status = session.client.status()
    pod = find_pod(status.pods, name, session.namespace)
    entry = _newest(pod, word)
    place = f"{pod.name}.{pod.namespace}"
    click.echo(f"\n{entry.start_time} {entry.method} {entry.authority}{entry.path} → {entry.response_code} ", nl=False)
    click.echo(f"{','.join(entry.response_flags) or '-'} {entry.response_code_details}")
    if entry.is_inbound:
        click.echo(f"{place} was called; its app is asked at {entry.upstream_host}")
        return
    scene, find_owner = read_scene(session, status)
    ask = ask_of(entry)
    click.echo(render_way(build_document(place, ask, explain(scene, scene.stations[place], ask), find_owner), verbose))


def _newest(pod: PodView, word: str) -> AccessLogEntry:
    from pilotfish.explain.accesslog import parse_access_log
    from pilotfish.explain.why import is_about

    log = next((Path(container.log) for container in pod.containers if container.kind == _PROXY), None)
    lines = log.read_text(errors="replace").splitlines() if log is not None and log.exists() else []
    for line in reversed(lines):
        entry = parse_access_log(line)
        if entry is not None and is_about(entry, word):
            return entry
    raise Failure(
        f"the access log of {pod.name}.{pod.namespace} has no entry with {word}; it is written with meshConfig's "
        "accessLogFile: /dev/stdout"
    )
