"""What commands mean by kinds, names and labels: objects of one kind, chosen by namespace, name and labels.

views or documents ─select─▶ Listing ─┬─ documents ─▶ JSON, YAML, JSONPath
                                      ├─ items ─────▶ -o name, and who changes or deletes them
                                      └─ draw ──────▶ Table
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import click
import msgspec

from pilotfish.cli.failure import Failure
from pilotfish.cli.kinds import PROBLEM, PROXY, STORED
from pilotfish.cli.places import near, near_all
from pilotfish.cli.render.documents import plain
from pilotfish.cli.render.events import render_events
from pilotfish.cli.render.meshes import render_meshes
from pilotfish.cli.render.objects import labels_of, name_of, namespace_of, render_objects
from pilotfish.cli.render.pods import render_pods
from pilotfish.cli.render.problems import render_problems
from pilotfish.cli.render.proxies import render_proxies
from pilotfish.cli.render.services import render_labels, render_services
from pilotfish.cli.render.table import Table, table
from pilotfish.cli.selector import FieldRequirement, Selector, selects
from pilotfish.cli.session import Session, root
from pilotfish.model import Kind
from pilotfish.model.kinds import EVENT, POD, SERVICE
from pilotfish.model.redaction import redacted
from pilotfish.runtime.control.client import find_meshes, is_alive
from pilotfish.runtime.control.views import ClusterView, Overview, StatusView

if TYPE_CHECKING:
    from pilotfish.cli.jsonpath import Path


@dataclass(frozen=True, slots=True)
class Selection:
    kind: Kind
    names: tuple[str, ...] = ()
    """() means all."""
    namespace: str | None = None
    """None means all."""
    selector: Selector = ()
    fields: tuple[FieldRequirement, ...] = ()
    wide: bool = False
    detailed: bool = False
    """Documents are wanted, beside a table of them."""
    drawn: bool = True
    """A table is wanted, beside documents."""
    order: Path | None = None
    """What to sort by, of the documents."""


@dataclass(frozen=True, slots=True)
class Item:
    """What selection looks at, and the value that it stands for."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    value: object
    """A document, or a view."""
    also: str = ""
    """Another name that it answers to."""


@dataclass(frozen=True, slots=True)
class Listing:
    selection: Selection
    items: tuple[Item, ...]
    draw: Callable[[float], Table]
    """The table as of a moment, in seconds since the epoch: ages change, nothing else. It has a row for each item."""
    missing: tuple[Failure, ...] = ()
    """A failure for each name that was asked for and not found."""

    @property
    def kind(self) -> Kind:
        return self.selection.kind

    @property
    def documents(self) -> tuple[object, ...]:
        """As people may see them."""
        return tuple(redacted(each) if isinstance(each, dict) else each for each in (i.value for i in self.items))

    def table(self, now: float, prefix: bool = False, labels: Iterable[str] = (), all_labels: bool = False) -> Table:
        """With the columns that any kind may have: the namespace where objects of all are shown, and labels. `prefix`:
        names say their kind, where several are shown."""
        found = self.draw(now)
        if self.kind not in STORED:
            return found
        if prefix and found.header[:1] == ("NAME",):
            names = [f"{self.kind.qualified}/{item.name}" for item in self.items]
            found = table(found.header, ((name, *row[1:]) for name, row in zip(names, found.rows, strict=True)))
        if self.selection.namespace is None and self.kind.namespaced:
            found = found.with_column("NAMESPACE", [item.namespace for item in self.items], first=True)
        for key in labels:
            header = key.rpartition("/")[2].upper()
            found = found.with_column(header, [item.labels.get(key, "") for item in self.items])
        if all_labels:
            found = found.with_column("LABELS", [render_labels(item.labels) for item in self.items])
        return found


def list_meshes(selection: Selection) -> Listing:
    """Dead meshes, too. The only kind that can be listed when no mesh runs."""
    found = {mesh.name: (mesh, is_alive(mesh)) for mesh in find_meshes(root())}
    documents = {name: {**msgspec.structs.asdict(mesh), "alive": alive} for name, (mesh, alive) in found.items()}
    chosen, missing = _select(selection, [Item("", name, {}, each) for name, each in documents.items()])
    pairs = [found[item.name] for item in chosen]
    return Listing(selection, chosen, lambda now: render_meshes(pairs, now, selection.wide), missing)


def list_own(view: Overview, selection: Selection) -> Listing:
    """Proxies, or problems. What is not known of them, and why, goes to standard error."""
    if isinstance(view, ClusterView):
        said = (view.missing, *(f"{each.pod} does not answer: {each.error}" for each in view.replicas if each.error))
        click.echo("".join(f"{line}\n" for line in said if line), err=True, nl=False)
    return _proxies(view, selection) if selection.kind is PROXY else _problems(view, selection)


def list_objects(session: Session, selection: Selection) -> Listing:
    if selection.kind in (PROXY, PROBLEM):
        return list_own(session.client.status(), selection)
    without_documents = selection.drawn and not (selection.detailed or selection.order or selection.fields)
    if selection.kind is SERVICE and selection.selector:
        without_documents = False  # a view has no labels
    if selection.kind in (POD, SERVICE) and without_documents:
        return _views(session, selection)
    namespace = selection.namespace if selection.kind.namespaced else None
    # All namespaces where names were asked for: an error can then say where the object is.
    found = session.client.objects(selection.kind, "" if selection.names or not namespace else namespace)
    items = [Item(namespace_of(each), name_of(each), labels_of(each), each) for each in found]
    chosen, missing = _select(selection, items)
    if selection.kind in (POD, SERVICE) and selection.drawn:
        return _drawn(selection, chosen, session.client.status(), missing)
    documents = [item.value for item in chosen if isinstance(item.value, dict)]
    if selection.kind is EVENT:
        return Listing(selection, chosen, lambda now: render_events(documents, now), missing)
    draw = partial(render_objects, selection.kind, documents, wide=selection.wide)
    return Listing(selection, chosen, draw, missing)


def _views(session: Session, selection: Selection) -> Listing:
    """Pods, or services, without a document of each."""
    view = session.client.status()
    if selection.kind is SERVICE:
        items = [Item(each.namespace, each.name, {}, each) for each in view.services]
    else:
        items = [Item(each.namespace, each.name, each.labels, each) for each in view.pods]
    chosen, missing = _select(selection, items)
    return _drawn(selection, chosen, view, missing)


def _drawn(selection: Selection, chosen: tuple[Item, ...], view: StatusView, missing: tuple[Failure, ...]) -> Listing:
    """Pods and services by what the mesh knows of them, which is more than a document says."""
    if selection.kind is SERVICE:
        services = {(each.namespace, each.name): each for each in view.services}
        items = tuple(item for item in chosen if (item.namespace, item.name) in services)
        some = [services[item.namespace, item.name] for item in items]
        return Listing(selection, items, partial(render_services, some, wide=selection.wide), missing)
    pods = {(each.namespace, each.name): each for each in view.pods}
    items = tuple(item for item in chosen if (item.namespace, item.name) in pods)
    mine = [pods[item.namespace, item.name] for item in items]
    return Listing(selection, items, partial(render_pods, mine, node=view.mesh.name, wide=selection.wide), missing)


def _proxies(view: Overview, selection: Selection) -> Listing:
    proxies = {(each.namespace, f"{each.pod}.{each.namespace}"): each for each in view.proxies}
    items = [Item(*key, {}, each, each.pod) for key, each in proxies.items()]
    chosen, missing = _select(selection, items)
    some = [proxies[item.namespace, item.name] for item in chosen]
    problems = near_all(view).problems
    return Listing(selection, chosen, lambda now: render_proxies(some, problems, selection.wide), missing)


def _problems(view: Overview, selection: Selection) -> Listing:
    items = [Item(each.namespace, each.name, {}, each) for each in view.problems]
    chosen, missing = _select(selection, items)
    some = [each for each in view.problems if any(item.value is each for item in chosen)]
    return Listing(selection, chosen, lambda now: render_problems(map(near, some)), missing)


def _select(selection: Selection, items: Iterable[Item]) -> tuple[tuple[Item, ...], tuple[Failure, ...]]:
    """By name in the order asked, else all that the namespace and the labels admit, by namespace and name; or by what
    they are to be sorted by."""
    every = list(items) if selection.kind is EVENT else sorted(items, key=lambda item: (item.namespace, item.name))
    within = [item for item in every if selection.namespace in (None, item.namespace) or not selection.kind.namespaced]
    if not selection.names:
        found = [item for item in within if selects(selection.selector, item.labels)]
        found = [item for item in found if all(each.matches(plain(item.value)) for each in selection.fields)]
        return _ordered(found, selection.order), ()
    chosen, missing = [], []
    for name in selection.names:
        found = [item for item in within if name in (item.name, item.also)]
        chosen += found
        if not found:
            missing.append(_not_found(selection, name, [item for item in every if name in (item.name, item.also)]))
    return _ordered(chosen, selection.order), tuple(missing)


def _ordered(items: Iterable[Item], order: Path | None) -> tuple[Item, ...]:
    """Numbers as numbers and other values as texts; those that have none come first, as in kubectl."""

    def key(item: Item) -> tuple[int, float, str]:
        value = next(iter(order.find(plain(item.value))), None) if order is not None else None
        if isinstance(value, (int, float)):
            return 1, value, ""
        return (0, 0, "") if value is None else (2, 0, str(value))

    return tuple(items) if order is None else tuple(sorted(items, key=key))


def _not_found(selection: Selection, name: str, elsewhere: list[Item]) -> Failure:
    message = f'{selection.kind.qualified_plural} "{name}" not found'
    if elsewhere:
        place = elsewhere[0].namespace
        return Failure(f'{message} in namespace "{selection.namespace}"; it is in "{place}": use -n {place}')
    return Failure(message + (f' in namespace "{selection.namespace}"' if selection.namespace is not None else ""))
