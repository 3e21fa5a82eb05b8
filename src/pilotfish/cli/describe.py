"""`pilotfish describe`."""

from __future__ import annotations

import time

import click

from pilotfish.cli import complete
from pilotfish.cli.failure import Failure, line
from pilotfish.cli.get import parse_words
from pilotfish.cli.kinds import PROXY, STORED
from pilotfish.cli.listing import Selection, list_objects
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import machine_option, namespace_option, selector_option
from pilotfish.cli.places import near
from pilotfish.cli.render.describe import Known, describe
from pilotfish.cli.render.objects import Unstructured, at, name_of, namespace_of, owners_of
from pilotfish.cli.render.problems import render_problem
from pilotfish.cli.selector import parse_selector
from pilotfish.cli.session import Session, open_session
from pilotfish.model import Kind
from pilotfish.model.kinds import DEPLOYMENT, EVENT, POD, REPLICA_SET, SERVICE
from pilotfish.runtime.control.views import StatusView


@click.command("describe")
@click.argument(
    "words", metavar="KIND [NAME]... | KIND/NAME...", nargs=-1, required=True, shell_complete=complete.names
)
@namespace_option
@click.option("-A", "--all-namespaces", is_flag=True, help="Objects of all namespaces.")
@selector_option
@machine_option
def command(words: tuple[str, ...], namespace: str | None, all_namespaces: bool, selector: str, mesh: Meant) -> None:
    """Show all that is known of objects: what was written, how it is, what is wrong with it, what happened to it."""
    wanted, labels = parse_words(words), parse_selector(selector)
    for kind, _ in wanted:
        if kind not in STORED:
            instead = "'proxy-config all POD' shows it" if kind is PROXY else f"'get {kind.plural}' shows all of it"
            raise Failure(f"{kind.plural} can't be described; {instead}")
    session = open_session(mesh, namespace)
    place = None if all_namespaces else session.namespace
    listings = [list_objects(session, Selection(kind, names, place, labels, drawn=False)) for kind, names in wanted]
    view, events = session.client.status(), session.client.objects(EVENT)
    found = [(each.kind, document) for each in listings for document in each.documents if isinstance(document, dict)]
    texts = [
        describe(kind, document, _known(session, kind, document, view, events), time.time()) for kind, document in found
    ]
    click.echo("\n\n".join(texts), nl=False)
    missing = [failure for listing in listings for failure in listing.missing]
    for failure in missing[:-1]:
        click.echo(line(failure), err=True)
    if missing:
        raise missing[-1]
    if not found:
        click.echo("No resources found.", err=True)


def _known(
    session: Session, kind: Kind, document: Unstructured, view: StatusView, events: list[dict[str, object]]
) -> Known:
    place, name = namespace_of(document), name_of(document)
    key = kind.name, place, name
    about = (each for each in view.problems if (each.kind, each.namespace, each.name) == key)
    pod = next((each for each in view.pods if kind is POD and (each.namespace, each.name) == (place, name)), None)
    service = next((s for s in view.services if kind is SERVICE and (s.namespace, s.name) == (place, name)), None)
    return Known(
        problems=tuple(render_problem(near(each)) for each in about),
        notes=pod.notes if pod is not None else (),
        events=tuple(each for each in events if _subject(each) == key),
        endpoints=service.endpoints if service is not None else (),
        replica_sets=_replica_sets(session, place, name) if kind is DEPLOYMENT else (),
    )


def _subject(event: Unstructured) -> tuple[object, ...]:
    return tuple(at(event, "involvedObject", field) for field in ("kind", "namespace", "name"))


def _replica_sets(session: Session, namespace: str, name: str) -> tuple[Unstructured, ...]:
    """The newest last."""
    found = session.client.objects(REPLICA_SET, namespace)
    return tuple(each for each in found if name in owners_of(each))
