"""One mesh on one screen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pilotfish.cli.render.age import render_age
from pilotfish.cli.render.pods import ready, restarts, status
from pilotfish.cli.render.problems import render_problem
from pilotfish.cli.render.proxies import own, sync
from pilotfish.cli.render.table import NONE, Table, table
from pilotfish.runtime.control.views import (
    ClusterView,
    DiscoveryReplicaView,
    DiscoveryView,
    Overview,
    PodsView,
    PodView,
    ProxyView,
    PublishView,
    StatusView,
)

_TRIALS = 5
_NAMED = 3
_MOST_PODS = 50
"""That are listed of a cluster."""


def render_status(view: Overview, now: float) -> str:
    return "\n".join(part for part in _parts(view, now) if part)


def render_headline(view: StatusView, now: float) -> str:
    """`mesh calculator: ready, 3 of 3 pods, 3 of 3 proxies synced, up 2m10s`, with the number of errors if any."""
    return f"mesh {view.mesh.name}: {_counted(view, view.pods)}, up {render_age(now - view.mesh.started_at)}"


def _counted(view: Overview, mine: Sequence[PodView]) -> str:
    """`mine`: the pods that are the mesh's."""
    pods = sum(pod.ready or pod.phase == "Succeeded" for pod in mine)
    envoys = own(view.proxies)
    synced = sum(sync(proxy) == "SYNCED" for proxy in envoys)
    errors = sum(problem.severity == "error" for problem in view.problems)
    counted = f", {errors} error{'' if errors == 1 else 's'}" if errors else ""
    return (
        f"{'ready' if view.ready else 'not ready'}, {pods} of {len(mine)} pods, "
        f"{synced} of {len(envoys)} proxies synced{counted}"
    )


def render_trials(published: PublishView) -> Iterator[str]:
    """The first few ways to try a gateway."""
    yield from published.trials[:_TRIALS]
    if len(published.trials) > _TRIALS:
        yield f"# {len(published.trials) - _TRIALS} more for {published.address}: see status -o json"


def render_published(published: Iterable[PublishView]) -> str:
    """Where the host leads into the mesh."""
    return table(("PUBLISHED", "SERVICE"), ((each.address, each.target) for each in published)).text()


def render_discovery(discovery: DiscoveryView) -> str:
    if not discovery.running:
        return f"not running, {discovery.restarts} restarts; its log is discovery.log in the mesh's directory"
    again = f", {discovery.restarts} restarts" if discovery.restarts else ""
    if not discovery.answering:
        return f"process {discovery.pid} does not answer{again}; its log is discovery.log in the mesh's directory"
    return f"running, xDS {discovery.xds_address}, monitoring {discovery.monitoring_address}{again}"


def render_machine(proxy: ProxyView) -> str:
    """`of machine box, for 3 pods, process 4711, 1 restart`."""
    pods = f"{len(proxy.serves)} pod{'' if len(proxy.serves) == 1 else 's'}"
    process = f"process {proxy.pid}" if proxy.pid is not None else "not running"
    again = f", {proxy.restarts} restart{'' if proxy.restarts == 1 else 's'}" if proxy.restarts else ""
    return f"of machine {proxy.pod}, for {pods}, {process}{again}"


def pods_with_sync(view: PodsView, now: float) -> Table:
    """All pods, each with what its proxy has."""
    proxies = {(proxy.namespace, proxy.pod): proxy for proxy in view.proxies}
    rows = (
        (
            pod.namespace,
            pod.name,
            ready(pod),
            status(pod),
            restarts(pod, now),
            render_age(now - pod.created_at),
            pod.addresses[0] if pod.addresses else NONE,
            _proxy(pod, proxies.get((pod.namespace, pod.name))),
        )
        for pod in view.pods
    )
    return table(("NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "PROXY"), rows)


def _proxy(pod: PodView, proxy: ProxyView | None) -> str:
    if proxy is None:
        return "UNKNOWN" if pod.captured else "none"
    return f"{sync(proxy)} (machine's)" if proxy.machine else sync(proxy)


def _parts(view: Overview, now: float) -> Iterator[str]:
    """Blocks of lines; a blank line goes between them."""
    if isinstance(view, ClusterView):
        proxies = {(each.namespace, each.pod): each for each in view.proxies}
        mine = [pod for pod in view.pods if (pod.namespace, pod.name) in proxies]
        yield _cluster_head(view, mine)
        yield _told_pods(view, mine, now)
    elif isinstance(view, StatusView):
        yield _head(view, now)
        yield pods_with_sync(view, now).text() if view.pods else ""
        if view.published:
            yield render_published(view.published)
            yield "".join(f"  {line}\n" for each in view.published for line in render_trials(each))
    yield from _said(view)


def _said(view: Overview) -> Iterator[str]:
    notes = [f"{pod.name}.{pod.namespace}: {note}\n" for pod in view.pods for note in pod.notes]
    failures = [
        f"{pod.name}.{pod.namespace}: container {each.name}: {': '.join(filter(None, (each.reason, each.message)))}\n"
        for pod in view.pods
        for each in pod.containers
        if each.message and not each.ready and each.reason != "Completed"
    ]
    harmless = [f"{render_problem(problem)}\n" for problem in view.problems if problem.severity == "info"]
    problems = [f"{render_problem(problem)}\n" for problem in view.problems if problem.severity != "info"]
    yield "".join(["NOTES\n", *notes, *failures, *harmless]) if notes or failures or harmless else ""
    yield "".join(["PROBLEMS\n", *problems]) if problems else ""


def _cluster_head(view: ClusterView, mine: Sequence[PodView]) -> str:
    lines = [("server", view.server), ("namespace", view.namespace)]
    if view.revision:
        lines.append(("revision", f"{view.revision}, in namespace {view.root_namespace}"))
    lines += [("discovery", _replica(each)) for each in view.replicas]
    if view.missing:
        lines.append(("discovery", view.missing))
    head = f"cluster of {view.origin}: {_counted(view, mine)}\n"
    return head + "".join(f"  {name:<11}{text}\n" for name, text in lines)


def _replica(view: DiscoveryReplicaView) -> str:
    if view.error:
        return f"{view.pod} does not answer: {view.error}"
    proxies = f"{view.proxies} prox{'y' if view.proxies == 1 else 'ies'}"
    return f"{view.pod}, {view.version or 'of no known version'}, {proxies}"


def _told_pods(view: ClusterView, mine: Sequence[PodView], now: float) -> str:
    """Of many, those that are not in order."""
    proxies = {(each.namespace, each.pod): each for each in view.proxies}
    if len(mine) > _MOST_PODS:
        mine = [pod for pod in mine if not pod.ready or sync(proxies[pod.namespace, pod.name]) != "SYNCED"]
    shown = PodsView(pods=tuple(mine[:_MOST_PODS]), proxies=view.proxies)
    rest = len(proxies) - len(shown.pods)
    more = f"{rest} more {'pods with a proxy are' if rest > 1 else 'pod with a proxy is'} not listed here\n"
    return (pods_with_sync(shown, now).text() if shown.pods else "") + (more if rest > 0 else "")


def _head(view: StatusView, now: float) -> str:
    lines = (
        ("from", " ".join(view.mesh.sources) or "nothing yet"),
        ("namespace", view.mesh.default_namespace),
        ("addresses", ", ".join(view.mesh.pod_subnets) or "none"),
        *((("way out", "as from this machine (--egress)"),) if view.mesh.egress else ()),
        ("discovery", render_discovery(view.discovery)),
        *(("proxy", render_machine(proxy)) for proxy in view.proxies if proxy.serves),
        ("directory", view.mesh.directory),
        *((("mutual TLS", _mutual(view)),) if view.inbound.connections else ()),
    )
    return render_headline(view, now) + "\n" + "".join(f"  {name:<11}{text}\n" for name, text in lines)


def _mutual(view: StatusView) -> str:
    """`9 of 12 connections; others to payroll.payroll`."""
    named = [f"{p.pod}.{p.namespace}" for p in view.proxies if p.inbound.mutual < p.inbound.connections]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    rest = f"; others to {', '.join(named[:_NAMED])}{more}" if named else ""
    return f"{view.inbound.mutual} of {view.inbound.connections} connections{rest}"
