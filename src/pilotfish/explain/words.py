"""What is said of steps and outcomes to people who need not know Envoy. The whole of it is in the evidence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from pilotfish.envoy.naming import usual_name
from pilotfish.explain.trace import End, Outcome, Side, Stage, Step, Trace, Verdict
from pilotfish.model.wellknown import INBOUND_PORT, OUTBOUND_PORT

if TYPE_CHECKING:
    from pilotfish.explain.owner import Owner

_ACTING: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
"""Controls, invisible and directional characters, halves of characters: terminals obey some, XML forbids others.
Sources: https://www.w3.org/TR/xml/#charsets, https://www.unicode.org/reports/tr36/ (bidirectional text)"""
_BROKEN: Final = {End.RESET: "connection reset", End.REFUSED: "refused", End.TIMEOUT: "no answer"}
_VERDICTS: Final = {
    "accepted as it is": "accepted as it is: no rule sends it to a proxy",
    **{f"redirected to port {port}": f"to its proxy, port {port}" for port in (OUTBOUND_PORT, INBOUND_PORT)},
}
_KEPT: Final = ("waits", "delay", "abort", "origin", "mirrors", "panic", "detected", "try")
"""Evidence that changes what becomes of a request, or when."""
_MOST_NAMED: Final = 3
"""Pods, or kinds of ends, that an answer names one by one."""
_CERTAIN: Final = 0.9999
_ASKS: Final = {
    Stage.DNS: "does not let it be seen",
    Stage.LISTENER_FILTER: "does not say which protocol it is",
    Stage.FILTER_CHAIN: "says so",
    Stage.VIRTUAL_HOST: "is for other hosts",
    Stage.ROUTE: "says so",
    Stage.HTTP_FILTER: "says so",
    Stage.CLUSTER: "sends it there",
    Stage.ENDPOINT: "says which pods are meant",
    Stage.APP: "leads there",
}
_SPECIAL: Final = {
    "PassthroughCluster": "to where the client meant to go",
    "InboundPassthroughCluster": "to where the client meant to go",
    "BlackHoleCluster": "which leads nowhere",
}
"""Istio's names of clusters that are nobody's."""


def plain(text: str) -> str:
    """Users' text as it may be shown: what would act on a terminal or reorder a line is a `�`."""
    return _ACTING.sub("�", text)


def say_step(step: Step) -> str:
    """One line, without the stage: `subset v2 of calculator.vm.svc.cluster.local:8888`."""
    said = _SAID.get(step.stage, _say_name)(step)
    more = [_pair(key, step.evidence[key]) for key in _KEPT if step.evidence.get(key)]
    return "; ".join((said, *more))


def _say_name(step: Step) -> str:
    return step.name


def _say_dns(step: Step) -> str:
    address, by = step.evidence.get("address"), step.evidence.get("by")
    found = f"{step.name} is {address}" if address else ": ".join((step.name, *map(str, step.evidence.values())))
    return f"{found}, by {by}" if by else found


def _say_netfilter(step: Step) -> str:
    verdict = str(step.evidence.get("verdict", ""))
    if "connection" not in step.evidence:  # the node's own share of a Service
        return f"{step.name}, {verdict}" if verdict else step.name
    return _VERDICTS.get(verdict, verdict)


def _say_cluster(step: Step) -> str:
    told = say_cluster(step.name)
    return f"{told}, {_SPECIAL[told]}" if told in _SPECIAL else told


def _say_tls(step: Step) -> str:
    if not step.evidence.get("mutual"):
        return step.name
    expected = step.evidence.get("expected_names")
    return f"mutual, with {' or '.join(map(str, expected))}" if isinstance(expected, list) and expected else "mutual"


def _say_filter(step: Step) -> str:
    return step.name.removeprefix("envoy.filters.http.")


def _say_app(step: Step) -> str:
    return f"{step.name}, {step.evidence['why']}" if "why" in step.evidence else step.name


def _say_reason(step: Step) -> str:
    return f"{step.name}: {step.evidence['why']}" if "why" in step.evidence else step.name


_SAID: Final = {
    Stage.DNS: _say_dns,
    Stage.NETFILTER: _say_netfilter,
    Stage.LISTENER: _say_reason,
    Stage.FILTER_CHAIN: _say_reason,
    Stage.HTTP_FILTER: _say_filter,
    Stage.CLUSTER: _say_cluster,
    Stage.TLS: _say_tls,
    Stage.APP: _say_app,
}


def say_cluster(name: str) -> str:
    """Istio's `outbound|PORT|SUBSET|HOST` in words; another name as it is."""
    parts = usual_name(name).split("|")
    if len(parts) != 4 or parts[0] != "outbound":
        return name
    _, port, subset, host = parts
    return f"subset {subset} of {host}:{port}" if subset else f"{host}:{port}"


def _pair(key: str, value: object) -> str:
    if value is True:
        return key
    each = [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]
    return f"{key} {', '.join(map(_say_mirror, each) if key == 'mirrors' else each)}"


def _say_mirror(said: str) -> str:
    """Of `outbound|80||web.vm.svc.cluster.local (100 %)`, as evidence has it."""
    name, space, share = said.partition(" ")
    return f"{say_cluster(name)}{space}{share}"


def say_share(part: float) -> str:
    """`33.3 %`; "" for what is certain."""
    return "" if part > _CERTAIN else f"{part * 100:.3g} %"


def say_end(outcome: Outcome) -> str:
    if outcome.kind is End.DELIVERED:
        return "the app answers" if outcome.pod else outcome.cause
    head, tail = _end_parts(outcome, ())
    return f"{head}{_by(outcome.pod, outcome.machine)}{tail}"


def _end_parts(outcome: Outcome, asking: tuple[str, ...]) -> tuple[str, str]:
    """What is said before and behind who answers. `asking`: who led there."""
    if outcome.kind is End.DELIVERED:
        return outcome.cause, ""
    words = [str(outcome.status) if outcome.status is not None else _BROKEN.get(outcome.kind, outcome.kind.value)]
    words += [outcome.flag] if outcome.flag else []
    asked = asking if outcome.kind is not End.UNKNOWN else ()
    return " ".join(words), f": {'; '.join((outcome.cause, *asked))}" if outcome.cause else ""


def say_asked(step: Step, owner: Owner) -> str:
    """What the owner of a step has to do with how the way ends behind it; "" for nothing."""
    if owner.field.startswith("spec.hosts"):
        return f"{owner} is for other hosts"
    words = _ASKS.get(step.stage, "")
    return f"{owner} {words}" if words else ""


def _by(pods: str, machine: str) -> str:
    whose = f"machine {machine}, for {pods}" if machine else pods
    return f" by the proxy of {whose}" if pods else ""


def say_answer(ends: Iterable[tuple[Outcome, tuple[str, ...]]], past: Iterable[str] = ()) -> str:
    """`answered by a (50 %) or b (50 %); or 503 UH …`, of all outcomes and who led there. `past`: what leads past
    proxies."""
    pods: dict[str, float] = {}
    others: dict[tuple[str, str, str], dict[str, float]] = {}
    for outcome, asking in ends:
        answers = outcome.kind is End.DELIVERED and bool(outcome.pod)
        shares = pods if answers else others.setdefault((*_end_parts(outcome, asking), outcome.machine), {})
        shares[outcome.pod] = shares.get(outcome.pod, 0.0) + outcome.probability
    parts = [f"answered by {_listed(pods)}"] if pods else []
    ranked = sorted(others.items(), key=lambda other: -sum(other[1].values()))
    shown = ranked if len(ranked) <= _MOST_NAMED + 1 else ranked[:_MOST_NAMED]
    for (head, tail, machine), shares in shown:
        whole = say_share(sum(shares.values())) if "" in shares else ""
        parts.append(f"{head}{f' ({whole})' if whole else _by(_listed(shares), machine)}{tail}")
    if rest := ranked[len(shown) :]:
        part = sum(sum(shares.values()) for _, shares in rest)
        parts.append(f"one of {len(rest)} other ends ({say_share(part)})")
    return "; ".join(("; or ".join(parts) or "nothing is known", *past))


def _listed(shares: Mapping[str, float]) -> str:
    ranked = sorted(shares.items(), key=lambda share: -share[1])
    shown = ranked if len(ranked) <= _MOST_NAMED + 1 else ranked[:_MOST_NAMED]
    named = [f"{name} ({share})" if (share := say_share(part)) else name for name, part in shown]
    if rest := ranked[len(shown) :]:
        named.append(f"{len(rest)} others ({say_share(sum(part for _, part in rest)) or '100 %'})")
    return " or ".join(named)


def decides(step: Step, trace: Trace) -> bool:
    """Whether a step tells more than its neighbours: what follows of itself is left out where not all is asked for."""
    if step.verdict is not Verdict.TAKEN or step.written.config:
        return True
    is_server = step.side is Side.SERVER
    match step.stage:
        case Stage.LISTENER:  # the one where the connection arrived is named once more if it stays there
            return not is_server and step.parent is not None and trace.steps[step.parent].name == step.name
        case Stage.FILTER_CHAIN:  # connections that are no HTTP are told apart here alone
            return not is_server and _is_tcp(step, trace)
        case Stage.LISTENER_FILTER:
            return "waits" in step.evidence
        case Stage.ROUTE:
            return not is_server and bool(step.rejected)
        case Stage.CLUSTER | Stage.ENDPOINT:
            return not is_server
        case Stage.NETFILTER:
            return "connection" not in step.evidence or not _is_by_proxy(step, trace)
        case Stage.TLS:  # what a client's proxy begins, the server's ends
            return not (is_server and step.evidence.get("mutual"))
        case Stage.DNS | Stage.HTTP_FILTER | Stage.APP:
            return True
    return False


def _is_tcp(chain: Step, trace: Trace) -> bool:
    return any(step.name == "tcp_proxy" and step.parent == chain.id for step in trace.steps[chain.id :])


def _is_by_proxy(step: Step, trace: Trace) -> bool:
    """The connection is one that the pod's own proxy opens."""
    at = step.parent
    while at is not None and (trace.steps[at].pod, trace.steps[at].side) == (step.pod, step.side):
        if trace.steps[at].stage is Stage.LISTENER:
            return True
        at = trace.steps[at].parent
    return False
