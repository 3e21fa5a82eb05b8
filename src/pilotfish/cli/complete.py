"""What completes an argument: names out of the running mesh. Whatever fails completes nothing, and says nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr
from io import StringIO
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from pilotfish.cli.session import Session
    from pilotfish.model import Kind
    from pilotfish.runtime.control.views import PodsView

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _quiet(names: Callable[[click.Context, str], Iterable[str]]) -> Completer:
    def completer(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            with redirect_stderr(StringIO()):
                found = sorted({name for name in names(ctx, incomplete) if name.startswith(incomplete)})
        except Exception:
            # No mesh, several, no permission, a bug: an error text would land in the user's command line.
            return []
        return [CompletionItem(name) for name in found]

    return completer


def _meshes(ctx: click.Context, incomplete: str) -> Iterable[str]:
    from pilotfish.cli.session import root
    from pilotfish.runtime.control.client import find_meshes

    return [mesh.name for mesh in find_meshes(root())]


def _contexts(ctx: click.Context, incomplete: str) -> Iterable[str]:
    from pilotfish.cli.meant import Meant
    from pilotfish.runtime.cluster.access import list_contexts

    return list_contexts(Meant.of(ctx).kubeconfig)


def _namespaces(ctx: click.Context, incomplete: str) -> Iterable[str]:
    view, _ = _pods_of(ctx)
    return [pod.namespace for pod in view.pods] + [service.namespace for service in view.services]


def _pods(ctx: click.Context, incomplete: str) -> Iterable[str]:
    """Pods of the namespace by name, those of others with theirs; what has pods where that was begun."""
    from pilotfish.model.kinds import MAKE_PODS
    from pilotfish.model.target import parse_target

    view, namespace = _pods_of(ctx)
    kind, slash, _ = incomplete.rpartition("/")
    meant = parse_target(f"{kind}/x", namespace)
    if slash and meant is not None and meant.kind in MAKE_PODS:
        for pod in view.pods:
            if pod.owner.startswith(f"{meant.kind.name.lower()}/"):
                yield _qualified(f"{kind}/{pod.owner.partition('/')[2]}", pod.namespace, namespace)
        return
    if slash and kind in ("svc", "service", "services"):
        for service in view.services:
            yield _qualified(f"{kind}/{service.name}", service.namespace, namespace)
        return
    for pod in view.pods:
        yield _qualified(f"{kind}{slash}{pod.name}", pod.namespace, namespace)


def _scaled(ctx: click.Context, incomplete: str) -> Iterable[str]:
    from pilotfish.model.kinds import SCALED

    return _objects(ctx, SCALED)


def _rolled(ctx: click.Context, incomplete: str) -> Iterable[str]:
    from pilotfish.model.kinds import ROLLED

    return _objects(ctx, ROLLED)


def _deployments(ctx: click.Context, incomplete: str) -> Iterable[str]:
    from pilotfish.model.kinds import DEPLOYMENT

    return _objects(ctx, [DEPLOYMENT])


def _objects(ctx: click.Context, kinds: Iterable[Kind]) -> Iterable[str]:
    session = _session(ctx)
    for kind in kinds:
        for document in session.client.objects(kind):
            metadata = document["metadata"]
            if isinstance(metadata, dict):
                name, namespace = str(metadata["name"]), str(metadata.get("namespace", ""))
                yield _qualified(f"{kind.shorts[0]}/{name}", namespace, session.namespace)


def _containers(ctx: click.Context, incomplete: str) -> Iterable[str]:
    from pilotfish.cli.target import find_pod

    view, namespace = _pods_of(ctx)
    target = ctx.params.get("pod")
    chosen = (find_pod(view, target, namespace),) if target else view.pods
    return [container.name for pod in chosen for container in pod.containers]


def _kinds(ctx: click.Context, incomplete: str) -> Iterable[str]:
    from pilotfish.cli.kinds import KINDS

    return [kind.plural for kind in KINDS]


def _names(ctx: click.Context, incomplete: str) -> Iterable[str]:
    """Kinds for a first word, or objects where one is begun as KIND/NAME; then the names of objects of the kind."""
    words = ctx.params.get("words") or ()
    kind, slash, _ = incomplete.partition("/")
    if slash:
        return [f"{kind}/{name}" for name in _names_of(ctx, kind)]
    if words and "/" in words[0]:
        return ()
    return _names_of(ctx, words[0]) if words else _kinds(ctx, incomplete)


def _names_of(ctx: click.Context, word: str) -> Iterable[str]:
    from pilotfish.cli.kinds import MESH, PROXY, find_kind
    from pilotfish.model.kinds import POD

    kind = find_kind(word)
    if kind is MESH:
        return _meshes(ctx, "")
    session = _session(ctx)
    if kind is POD:
        return [pod.name for pod in session.client.status(timeout=2).pods if pod.namespace == session.namespace]
    if kind is PROXY:
        return [f"{proxy.pod}.{proxy.namespace}" for proxy in session.client.status(timeout=2).proxies]
    documents = session.client.objects(kind, session.namespace if kind.namespaced else "")
    return [str(each["metadata"]["name"]) for each in documents if isinstance(each["metadata"], dict)]


def _conditions(ctx: click.Context, incomplete: str) -> Iterable[str]:
    return "condition=Ready", "condition=Available", "jsonpath=", "create", "delete"


def _manifest_proxies(ctx: click.Context, incomplete: str) -> Iterable[str]:
    """Of the manifests that were named already."""
    from pilotfish.cli.manifests import read_manifests
    from pilotfish.offline.world import build

    # click leaves arguments where they are while the option that is being completed has no value.
    files = (*(ctx.params.get("files") or ctx.args), *(ctx.params.get("named") or ()))
    namespace = ctx.params.get("namespace") or "default"
    if "-" in files:
        return ()
    recursive, mesh_config = bool(ctx.params.get("recursive")), ctx.params.get("mesh_config")
    world = build(read_manifests(files, recursive, namespace, mesh_config).desired)
    names = [(proxy.name, proxy.namespace) for proxy in world.proxies.values()]
    names += [(workload.name, workload.namespace) for workload in world.workloads.values()]
    return [_qualified(name, place, namespace) for name, place in names]


def _pods_of(ctx: click.Context) -> tuple[PodsView, str]:
    """All pods of the mesh that is meant, wherever it runs, and the namespace of those that need not name theirs."""
    from pilotfish.cli.meant import CONTEXT, Meant
    from pilotfish.cli.session import open_reader

    meant = Meant.of(ctx)
    if meant.name is not None or not (meant.is_cluster or CONTEXT in os.environ):
        session = _session(ctx)
        return session.client.status(timeout=2), session.namespace
    reader = open_reader(meant, ctx.params.get("namespace"))
    try:
        return reader.mesh.pods(), reader.namespace
    finally:
        reader.mesh.close()


def _session(ctx: click.Context) -> Session:
    from pilotfish.cli.meant import Meant
    from pilotfish.cli.session import open_session

    return open_session(Meant.of(ctx), ctx.params.get("namespace"))


def _qualified(name: str, namespace: str, default: str) -> str:
    return name if namespace == default else f"{name}.{namespace}"


def copied(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What `cp` takes: a pod, with the colon before its path, or a file of this machine."""

    def pods_with_colon(ctx: click.Context, incomplete: str) -> Iterable[str]:
        return (f"{pod}:" for pod in _pods(ctx, ""))

    return [*_quiet(pods_with_colon)(ctx, param, incomplete), CompletionItem(incomplete, type="file")]


meshes = _quiet(_meshes)
contexts = _quiet(_contexts)
namespaces = _quiet(_namespaces)
pods = _quiet(_pods)
scaled = _quiet(_scaled)
rolled = _quiet(_rolled)
deployments = _quiet(_deployments)
containers = _quiet(_containers)
kinds = _quiet(_kinds)
names = _quiet(_names)
conditions = _quiet(_conditions)
manifest_proxies = _quiet(_manifest_proxies)
