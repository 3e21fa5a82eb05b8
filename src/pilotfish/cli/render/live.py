"""The screen of `up`, from the top: one line about the mesh, its pods, what is published, problems, the last progress.

Every line fits the width; what does not fit the height is counted instead, pods that are well first.
"""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pilotfish.cli.render.age import render_age
from pilotfish.cli.render.pods import ready, restarts, status
from pilotfish.cli.render.problems import render_problem
from pilotfish.cli.render.proxies import own, sync
from pilotfish.runtime.control.views import PodView, ProblemView, ProxyView, StatusView
from pilotfish.runtime.node.options import ProgressLine

_LINES = 4
"""Lines of progress that are shown."""
_PROBLEMS = 5
_SEVERITY = {"error": "red", "warning": "yellow", "info": "dim"}


def render_live(
    name: str, view: StatusView | None, said: tuple[ProgressLine, ...], now: float, height: int, width: int
) -> RenderableType:
    """`view` is None until the mesh answers; `now` in seconds since the epoch."""
    parts: list[RenderableType] = [_headline(name, view, now)]
    last = [render_line(line) for line in said[-_LINES:]]
    foot = Text("Ctrl-C takes the mesh down", style="dim")
    if view is not None:
        extra = [*_published(view), *_problems(view.problems)]
        room = height - len(extra) - len(last) - 5
        parts += [_pods(view, now, max(room, 1)), *extra]
    return Group(*(_one_line(part) for part in (*parts, *last, foot)))


def _headline(name: str, view: StatusView | None, now: float) -> Text:
    if view is None:
        return Text.assemble(("◌ ", "yellow"), (name, "bold"), "  starting")
    mark, style, word = ("●", "green", "ready") if view.ready else ("◌", "yellow", "not ready")
    envoys = own(view.proxies)
    synced = sum(sync(proxy) == "SYNCED" for proxy in envoys)
    age = render_age(now - view.mesh.started_at)
    up = "" if view.discovery.running else "  discovery down"
    return Text.assemble(
        (f"{mark} ", style),
        (view.mesh.name, "bold"),
        (f"  {word}", style),
        f"  {age}  pods {sum(map(_well, view.pods))}/{len(view.pods)}  proxies {synced}/{len(envoys)} synced",
        (up, "red"),
    )


def _pods(view: StatusView, now: float, room: int) -> Table:
    """As many rows as there is room for, those that need a look first."""
    proxies = {(proxy.namespace, proxy.pod): proxy for proxy in view.proxies}
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim", show_edge=False)
    grid.add_column("POD", overflow="ellipsis", no_wrap=True, ratio=None)
    for header in ("READY", "STATUS", "RESTARTS", "AGE", "PROXY"):
        grid.add_column(header, no_wrap=True)
    states = [(pod, proxies.get((pod.namespace, pod.name))) for pod in view.pods]
    if len(states) > room:
        states.sort(key=lambda state: _calm(*state))
        hidden = len(states) - room + 1
        states = states[: len(states) - hidden]
    else:
        hidden = 0
    for pod, proxy in states:
        grid.add_row(*_row(pod, proxy, now))
    if hidden:
        grid.add_row(Text(f"and {hidden} more", style="dim"))
    return grid


def _row(pod: PodView, proxy: ProxyView | None, now: float) -> tuple[Text | str, ...]:
    style = "" if _well(pod) else "yellow" if pod.phase in ("Pending", "Terminating") else "red"
    word = sync(proxy) if proxy else ("UNKNOWN" if pod.captured else "none")
    return (
        f"{pod.name}.{pod.namespace}",
        ready(pod),
        Text(status(pod), style=style),
        restarts(pod, now).partition(" ")[0],
        render_age(now - pod.created_at),
        Text(word, style="red" if "REFUSED" in word else "" if word in ("SYNCED", "none") else "yellow"),
    )


def _well(pod: PodView) -> bool:
    return pod.ready or pod.phase == "Succeeded"


def _calm(pod: PodView, proxy: ProxyView | None) -> bool:
    return _well(pod) and (proxy is None or sync(proxy) == "SYNCED")


def _published(view: StatusView) -> list[Text]:
    """With one way to try each."""
    found = []
    for each in view.published:
        found.append(Text.assemble((each.address, "bold"), f" → {each.target}"))
        found += (Text(f"  {line}") for line in each.trials[:1])
    return found


def _problems(problems: tuple[ProblemView, ...]) -> list[Text]:
    """Notes are no problems: `status` has them."""
    found = [each for each in problems if each.severity != "info"]
    lines = [Text(render_problem(each), style=_SEVERITY[each.severity]) for each in found[:_PROBLEMS]]
    more = len(found) - _PROBLEMS
    return lines + ([Text(f"and {more} more: 'pilotfish get problems'", style="dim")] if more > 0 else [])


def render_line(line: ProgressLine) -> Text:
    """A line of progress."""
    style = _SEVERITY.get(line.severity, "dim")
    return Text(f"{line.elapsed:7.2f}s  {line.text}", style=style)


def _one_line(part: RenderableType) -> RenderableType:
    """Cut, not wrapped: the height stays what was counted."""
    if isinstance(part, Text):
        part.no_wrap, part.overflow = True, "ellipsis"
    return part
