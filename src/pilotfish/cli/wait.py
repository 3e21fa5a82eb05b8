"""`pilotfish wait`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import click

from pilotfish.cli import complete
from pilotfish.cli.duration import parse_duration
from pilotfish.cli.failure import Failure
from pilotfish.cli.get import parse_words
from pilotfish.cli.kinds import OWN
from pilotfish.cli.listing import Item, Listing, Selection, list_objects
from pilotfish.cli.meant import Meant
from pilotfish.cli.options import machine_option, namespace_option, selector_option
from pilotfish.cli.render.objects import at, each_at
from pilotfish.cli.selector import Selector, parse_selector
from pilotfish.cli.session import Session, open_session
from pilotfish.model import Kind


@dataclass(frozen=True, slots=True)
class Condition:
    """What is waited for. Of `delete` nothing is left when it is met."""

    said: str
    """What is printed when it is met."""
    holds: Callable[[object], bool]
    """Of a document."""
    deletion: bool = False


@click.command("wait")
@click.argument(
    "words", metavar="KIND/NAME... | KIND [NAME]...", nargs=-1, required=True, shell_complete=complete.names
)
@click.option(
    "--for",
    "wanted",
    required=True,
    metavar="CONDITION",
    shell_complete=complete.conditions,
    help="condition=NAME[=VALUE], jsonpath={PATH}[=VALUE], create or delete.",
)
@click.option("--timeout", type=parse_duration, default="30s", show_default=True, help="Fail after that long.")
@click.option("--all", "every", is_flag=True, help="All objects of the kind.")
@click.option("-A", "--all-namespaces", is_flag=True, help="Objects of all namespaces.")
@selector_option
@namespace_option
@machine_option
def command(
    words: tuple[str, ...],
    wanted: str,
    timeout: float,
    every: bool,
    all_namespaces: bool,
    selector: str,
    namespace: str | None,
    mesh: Meant,
) -> None:
    """Wait until objects are in a condition, exist, or are gone; with 1 after --timeout."""
    condition = parse_condition(wanted)
    kinds, labels = parse_words(words), parse_selector(selector)
    for kind, names in kinds:
        if kind in OWN:
            raise Failure(f"{kind.plural} have no conditions; 'rollout status' and 'apply --wait' wait for proxies")
        if bool(names) == bool(every or labels):
            raise click.UsageError("say what to wait for: either names, or --selector, or --all")
    session = open_session(mesh, namespace)
    place = None if all_namespaces else session.namespace
    deadline = time.monotonic() + timeout
    for kind, names in kinds:
        for name in names or ("",):
            _wait(session, _selection(kind, name, place, labels), condition, deadline, wanted == "create")


def parse_condition(text: str) -> Condition:
    """Raises click.UsageError."""
    form, _, rest = text.partition("=")
    if form == "delete" and not rest:
        return Condition("deleted", lambda _: False, deletion=True)
    if form == "create" and not rest:
        return Condition("created", lambda _: True)
    if form == "condition" and rest:
        name, _, value = rest.partition("=")
        return Condition("condition met", lambda document: _has(document, name, value or "True"))
    if form == "jsonpath" and rest:
        return _jsonpath(rest)
    raise click.UsageError(f"--for={text} is none of condition=NAME, jsonpath={{PATH}}=VALUE, create, delete")


def _jsonpath(text: str) -> Condition:
    from pilotfish.cli.jsonpath import BadPath, parse_path, show

    path, brace, value = text.rpartition("}")
    path, value = (f"{path}}}", value.removeprefix("=")) if brace else (text.partition("=")[0], text.partition("=")[2])
    try:
        found = parse_path(path.strip("'\""))
    except BadPath as error:
        raise click.UsageError(f"--for: {error}") from error
    value = value.strip("'\"")

    def holds(document: object) -> bool:
        values = found.find(document)
        return any(show(each) == value for each in values) if value else bool(values)

    return Condition("condition met", holds)


def _has(document: object, name: str, value: str) -> bool:
    """Whatever the letter case, as in kubectl."""
    found = (c for c in each_at(document, "status", "conditions") if str(at(c, "type")).lower() == name.lower())
    return any(str(at(each, "status")).lower() == value.lower() for each in found)


def _selection(kind: Kind, name: str, namespace: str | None, labels: Selector) -> Selection:
    return Selection(kind, (name,) if name else (), namespace, labels, drawn=False)


def _wait(session: Session, selection: Selection, condition: Condition, deadline: float, creation: bool) -> None:
    """Prints each object once the condition is met. `creation`: there need be none at first."""
    waiting: dict[tuple[str, str], Item] | None = None
    while True:
        seen = session.client.events()
        listing = list_objects(session, selection)
        found = {(item.namespace, item.name): item for item in listing.items}
        if waiting is None and (found or not creation):
            _check(listing, condition)
            waiting = dict(found)
        for key, item in list((waiting or {}).items()):
            if (key in found and condition.holds(found[key].value)) or (key not in found and condition.deletion):
                click.echo(f"{selection.kind.qualified}/{item.name} {condition.said}")
                del (waiting or {})[key]
            elif key not in found:
                raise Failure(f'{selection.kind.qualified_plural} "{item.name}" was deleted meanwhile')
        if waiting is not None and not waiting:
            return
        left = deadline - time.monotonic()
        if left <= 0:
            names = [f"{selection.kind.plural}/{item.name}" for item in (waiting or {}).values()]
            what = ", ".join(names or [f"{selection.kind.plural} {' '.join(selection.names)}".strip()])
            raise Failure(f"timed out waiting for the condition on {what}")
        session.client.events(since=seen, wait=min(left, 5))


def _check(listing: Listing, condition: Condition) -> None:
    if condition.deletion:
        return
    if listing.missing:
        raise listing.missing[0]
    if not listing.items:
        raise Failure("no matching resources found")
