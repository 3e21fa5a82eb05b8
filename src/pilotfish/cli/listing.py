"""What `get` lists: objects of one kind, chosen by namespace, name and labels.

views or documents ─select─▶ Listing ─┬─ documents ─▶ JSON, YAML
                                      ├─ titles ────▶ -o name
                                      └─ draw ──────▶ Table
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import msgspec

from pilotfish.cli.failure import Failure
from pilotfish.cli.kinds import PROBLEM, PROXY
from pilotfish.cli.places import near, near_all
from pilotfish.cli.render.meshes import render_meshes
from pilotfish.cli.render.objects import labels_of, name_of, namespace_of, render_objects
from pilotfish.cli.render.pods import render_pods
from pilotfish.cli.render.problems import render_problems
from pilotfish.cli.render.proxies import render_proxies
from pilotfish.cli.render.services import render_services
from pilotfish.cli.render.table import Table
from pilotfish.cli.selector import Selector, selects
from pilotfish.cli.session import Session, root
from pilotfish.model import Kind
from pilotfish.model.kinds import POD, SERVICE
from pilotfish.model.redaction import redacted
from pilotfish.runtime.control.client import find_meshes, is_alive
from pilotfish.runtime.control.views import StatusView


@dataclass(frozen=True, slots=True)
class Selection:
    kind: Kind
    names: tuple[str, ...] = ()
    """() means all."""
    namespace: str | None = None
    """None means all."""
    selector: Selector = ()
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    kind: Kind
    documents: tuple[object, ...]
    titles: tuple[str, ...]
    """The objects' names."""
    draw: Callable[[float], Table]
    """The table as of a moment, in seconds since the epoch: ages change, nothing else."""
    named: bool = False
    """Whether names were asked for."""
    missing: tuple[Failure, ...] = ()
    """A failure for each name that was asked for and not found."""


@dataclass(frozen=True, slots=True)
class _Item:
    """What selection looks at, and the value that it stands for."""

    namespace: str
    name: str
    labels: Mapping[str, str]
    value: object
    also: str = ""
    """Another name that it answers to."""


def list_meshes(selection: Selection) -> Listing:
    """Dead meshes, too. The only kind that can be listed when no mesh runs."""
    found = {mesh.name: (mesh, is_alive(mesh)) for mesh in find_meshes(root())}
    chosen, missing = _select(selection, [_Item("", name, {}, pair) for name, pair in found.items()])
    pairs = [found[item.name] for item in chosen]
    documents = tuple({**msgspec.structs.asdict(mesh), "alive": alive} for mesh, alive in pairs)
    return _listing(selection, chosen, missing, lambda now: render_meshes(pairs, now, selection.wide), documents)


def list_objects(session: Session, selection: Selection, documents_wanted: bool) -> Listing:
    """`documents_wanted`: for JSON or YAML, which show pods and services as Kubernetes documents."""
    if selection.kind is PROXY:
        return _proxies(session.client.status(), selection)
    if selection.kind is PROBLEM:
        return _problems(session.client.status(), selection)
    if selection.kind in (POD, SERVICE) and not documents_wanted:
        return _views(session, selection)
    namespace = selection.namespace if selection.kind.namespaced else None
    # All namespaces where names were asked for: an error can then say where the object is.
    found = session.client.objects(selection.kind, "" if selection.names or not namespace else namespace)
    items = [_Item(namespace_of(each), name_of(each), labels_of(each), each) for each in found]
    chosen, missing = _select(selection, items)
    documents = tuple(redacted(each) for item in chosen if isinstance(each := item.value, dict))
    return _listing(
        selection,
        chosen,
        missing,
        lambda now: render_objects(selection.kind, documents, now, selection.wide, _everywhere(selection)),
        documents,
    )


def _views(session: Session, selection: Selection) -> Listing:
    """Pods and services by what the mesh knows of them, which is more than a document says."""
    view, everywhere = session.client.status(), _everywhere(selection)
    if selection.kind is SERVICE:
        services = {(each.namespace, each.name): each for each in view.services}
        chosen, missing = _select(selection, [_Item(*key, {}, each) for key, each in services.items()])
        some = [services[item.namespace, item.name] for item in chosen]
        return _listing(selection, chosen, missing, lambda now: render_services(some, now, selection.wide, everywhere))
    pods = {(each.namespace, each.name): each for each in view.pods}
    chosen, missing = _select(selection, [_Item(*key, each.labels, each) for key, each in pods.items()])
    mine = [pods[item.namespace, item.name] for item in chosen]
    node = view.mesh.name
    return _listing(selection, chosen, missing, lambda now: render_pods(mine, now, node, selection.wide, everywhere))


def _proxies(view: StatusView, selection: Selection) -> Listing:
    proxies = {(each.namespace, f"{each.pod}.{each.namespace}"): each for each in view.proxies}
    items = [_Item(*key, {}, each, each.pod) for key, each in proxies.items()]
    chosen, missing = _select(selection, items)
    some = [proxies[item.namespace, item.name] for item in chosen]
    problems = near_all(view).problems
    return _listing(selection, chosen, missing, lambda now: render_proxies(some, problems, selection.wide))


def _problems(view: StatusView, selection: Selection) -> Listing:
    items = [_Item(each.namespace, each.name, {}, each) for each in view.problems]
    chosen, missing = _select(selection, items)
    some = [each for each in view.problems if any(item.value is each for item in chosen)]
    return _listing(selection, chosen, missing, lambda now: render_problems(map(near, some)))


def _listing(
    selection: Selection,
    chosen: Iterable[_Item],
    missing: tuple[Failure, ...],
    draw: Callable[[float], Table],
    documents: tuple[object, ...] | None = None,
) -> Listing:
    items = tuple(chosen)
    shown = tuple(item.value for item in items) if documents is None else documents
    return Listing(selection.kind, shown, tuple(item.name for item in items), draw, bool(selection.names), missing)


def _select(selection: Selection, items: Iterable[_Item]) -> tuple[list[_Item], tuple[Failure, ...]]:
    """By name in the order asked, else all that the namespace and the labels admit, by namespace and name."""
    every = sorted(items, key=lambda item: (item.namespace, item.name))
    within = [item for item in every if selection.namespace in (None, item.namespace) or not selection.kind.namespaced]
    if not selection.names:
        return [item for item in within if selects(selection.selector, item.labels)], ()
    chosen, missing = [], []
    for name in selection.names:
        found = [item for item in within if name in (item.name, item.also)]
        chosen += found
        if not found:
            missing.append(_not_found(selection, name, [item for item in every if name in (item.name, item.also)]))
    return chosen, tuple(missing)


def _not_found(selection: Selection, name: str, elsewhere: list[_Item]) -> Failure:
    message = f'{selection.kind.qualified_plural} "{name}" not found'
    if elsewhere:
        place = elsewhere[0].namespace
        return Failure(f'{message} in namespace "{selection.namespace}"; it is in "{place}": use -n {place}')
    return Failure(message + (f' in namespace "{selection.namespace}"' if selection.namespace is not None else ""))


def _everywhere(selection: Selection) -> bool:
    return selection.namespace is None and selection.kind.namespaced
