"""One mesh on one screen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pilotfish.cli.render.age import render_age
from pilotfish.cli.render.pods import ready, restarts, status
from pilotfish.cli.render.problems import render_problem
from pilotfish.cli.render.proxies import sync
from pilotfish.cli.render.table import NONE, Table, table
from pilotfish.runtime.control.views import DiscoveryView, PodView, ProxyView, PublishView, StatusView

_TRIALS = 5
_NAMED = 3


def render_status(view: StatusView, now: float) -> str:
    return "\n".join(part for part in _parts(view, now) if part)


def render_headline(view: StatusView, now: float) -> str:
    """`mesh calculator: ready, 3 of 3 pods, 3 of 3 proxies synced, up 2m10s`, with the number of errors if any."""
    pods = sum(pod.ready or pod.phase == "Succeeded" for pod in view.pods)
    synced = sum(sync(proxy) == "SYNCED" for proxy in view.proxies)
    errors = sum(problem.severity == "error" for problem in view.problems)
    counted = f"{errors} error{'' if errors == 1 else 's'}, " if errors else ""
    return (
        f"mesh {view.mesh.name}: {'ready' if view.ready else 'not ready'}, {pods} of {len(view.pods)} pods, "
        f"{synced} of {len(view.proxies)} proxies synced, {counted}up {render_age(now - view.mesh.started_at)}"
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


def pods_with_sync(view: StatusView, now: float) -> Table:
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
    return sync(proxy)


def _parts(view: StatusView, now: float) -> Iterator[str]:
    """Blocks of lines; a blank line goes between them."""
    yield _head(view, now)
    if view.pods:
        yield pods_with_sync(view, now).text()
    if view.published:
        yield render_published(view.published)
        yield "".join(f"  {line}\n" for each in view.published for line in render_trials(each))
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


def _head(view: StatusView, now: float) -> str:
    lines = (
        ("from", " ".join(view.mesh.sources) or "nothing yet"),
        ("namespace", view.mesh.default_namespace),
        ("addresses", ", ".join(view.mesh.pod_subnets) or "none"),
        *((("way out", "as from this machine (--egress)"),) if view.mesh.egress else ()),
        ("discovery", render_discovery(view.discovery)),
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
