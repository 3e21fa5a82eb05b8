"""What an explanation is: steps that form a tree, and how it ends.

    Tape ─branch─▶ Branch ─step─▶ Branch ─step, step─▶ two Branches … ─end─▶ Outcome
      └────────────────────────── trace ──────────────────────────────────▶ Trace

A step is one choice: what was taken, the evidence, and why each nearer candidate lost. Where chance decides, branches
part, each with its share; the outcomes' probabilities add up to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from pilotfish.explain.call import Failure
from pilotfish.explain.written import NOWHERE, Written


class Stage(StrEnum):
    DNS = "dns"
    NETFILTER = "netfilter"
    LISTENER = "listener"
    LISTENER_FILTER = "listener_filter"
    FILTER_CHAIN = "filter_chain"
    NETWORK_FILTER = "network_filter"
    HTTP_FILTER = "http_filter"
    ROUTE_CONFIG = "route_config"
    VIRTUAL_HOST = "virtual_host"
    ROUTE = "route"
    CLUSTER = "cluster"
    ENDPOINT = "endpoint"
    TLS = "tls"
    APP = "app"


class Side(StrEnum):
    CLIENT = "client"
    SERVER = "server"
    GATEWAY = "gateway"


class Verdict(StrEnum):
    TAKEN = "taken"
    REFUSED = "refused"
    UNKNOWN = "unknown"


class End(StrEnum):
    """As the client sees it."""

    DELIVERED = "delivered"
    """The app answers."""
    RESPONSE = "response"
    """A proxy answers by itself."""
    RESET = "reset"
    REFUSED = "refused"
    """Also for a name that no DNS knows."""
    TIMEOUT = "timeout"
    UNKNOWN = "unknown"
    """It depends on what is not known here: no guess is made."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A candidate that lost."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    id: int
    parent: int | None
    side: Side
    pod: str
    """`NAME.NAMESPACE`; "" for what is in no pod."""
    stage: Stage
    name: str
    """What was taken: a rule, listener, chain, route, cluster, address …"""
    verdict: Verdict
    probability: float
    """That a request comes here."""
    evidence: Mapping[str, object]
    written: Written = NOWHERE
    """The user's object and field behind it, as the proxy says."""
    rejected: tuple[Rejected, ...] = ()
    machine: str = ""
    """Whose proxy took it for the pod; "" where the pod's own did, or no proxy."""


@dataclass(frozen=True, slots=True)
class Outcome:
    probability: float
    kind: End
    last_step: int
    status: int | None = None
    """HTTP's. None where there is none, or where the app decides."""
    flag: str = ""
    """The response flags of the proxy that ends it, as its access log has them: UH, or URX,UF."""
    cluster: str = ""
    endpoint: str = ""
    """`IP:PORT`."""
    pod: str = ""
    """Whose app answers; of a response or reset, whose proxy makes it."""
    cause: str = ""
    failure: Failure | None = None
    machine: str = ""
    """Whose proxy makes it for the pod; "" where the pod's own does, or no proxy."""

    @property
    def flags(self) -> tuple[str, ...]:
        """Each of them."""
        return tuple(self.flag.split(","))


@dataclass(frozen=True, slots=True)
class Trace:
    steps: tuple[Step, ...]
    outcomes: tuple[Outcome, ...]

    def at(self, stage: Stage) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.stage is stage)


def is_same_end(one: Trace, other: Trace) -> bool:
    """The same becomes of the request, with the same probabilities."""
    return _ends(one) == _ends(other)


def _ends(trace: Trace) -> Mapping[Outcome, float]:
    found: dict[Outcome, float] = {}
    for outcome in trace.outcomes:
        end = replace(outcome, probability=0.0, last_step=0)
        found[end] = found.get(end, 0.0) + outcome.probability
    return {end: round(part, 6) for end, part in found.items()}


_BROKEN: Final = {End.RESET: "UC", End.REFUSED: "UF", End.TIMEOUT: "UF"}
"""The response flags of a proxy whose upstream connection ends so."""
_SPENT: Final = "URX"
"""The flag of a proxy that does not try once more, though it would; to connect, one that reads no HTTP tries once."""
_UNCONNECTED: Final = (End.REFUSED, End.TIMEOUT)


@dataclass(slots=True)
class Tape:
    """Where steps and outcomes are written down, in the order in which they are found."""

    steps: list[Step] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)

    def trace(self) -> Trace:
        return Trace(tuple(self.steps), tuple(self.outcomes))


@dataclass(frozen=True, slots=True)
class Failed:
    """A branch whose end a proxy does not pass on yet, as it may try again; `Branch.end` has the arguments."""

    branch: Branch
    kind: End
    cause: str
    status: int | None
    flag: str
    failure: Failure | None
    is_slow: bool


@dataclass(slots=True)
class Try:
    """A request on its way from a proxy to one endpoint. Once it has ended, `failed` has what may be tried again."""

    retries: Callable[[End, int | None, bool], bool]
    """Whether the proxy tries again what ends so: with this status; as an answer to gRPC."""
    failed: list[Failed] = field(default_factory=list)
    is_last: bool = False

    @property
    def lost(self) -> float:
        """The probability that a request comes here and fails."""
        return sum(each.branch.probability for each in self.failed)

    def give_up(self) -> None:
        """No other try follows: what failed ends so."""
        self.is_last = True
        for each in self.failed:
            each.branch.end(
                each.kind, each.cause, status=each.status, flag=each.flag, failure=each.failure, is_slow=each.is_slow
            )


@dataclass(frozen=True, slots=True)
class Passed:
    """A proxy that has sent a request or a connection on."""

    pod: str
    reads_http: bool
    attempt: Try | None = None
    """None: a TCP connection, or a request that is sent once."""
    timeout: float = 0.0
    """Seconds that the request may take in all; 0 for any time."""
    machine: str = ""
    """Whose it is, where it is not the pod's own."""


@dataclass(frozen=True, slots=True)
class Branch:
    """How far one way has come."""

    tape: Tape
    side: Side = Side.CLIENT
    pod: str = ""
    last: int | None = None
    probability: float = 1.0
    cluster: str = ""
    """The last that was chosen, and its endpoint."""
    endpoint: str = ""
    proxies: tuple[Passed, ...] = ()
    """Those on the way so far."""
    is_grpc: bool = False
    """What a proxy answers by itself has status 200, and the status for gRPC in a header of its own."""
    doubts: tuple[str, ...] = ()
    """The filters on the way that are not read here: how it goes on holds if they let it pass, and nobody knows."""
    machine: str = ""
    """In whose proxy it is; "" in the pod's own, and in none."""

    def step(
        self,
        stage: Stage,
        name: str,
        *,
        verdict: Verdict = Verdict.TAKEN,
        share: float = 1.0,
        evidence: Mapping[str, object] | None = None,
        written: Written = NOWHERE,
        rejected: Iterable[Rejected] = (),
    ) -> Branch:
        """`share` of what came here goes on so."""
        probability = self.probability * share
        verdict = Verdict.UNKNOWN if self.doubts else verdict
        known = {key: value for key, value in (evidence or {}).items() if value not in (None, "", (), [], {})}
        id = len(self.tape.steps)
        made = Step(
            id,
            self.last,
            self.side,
            self.pod,
            stage,
            name,
            verdict,
            probability,
            known,
            written,
            tuple(rejected),
            self.machine,
        )
        self.tape.steps.append(made)
        return replace(self, last=id, probability=probability)

    def end(
        self,
        kind: End,
        cause: str = "",
        *,
        status: int | None = None,
        flag: str = "",
        failure: Failure | None = None,
        is_slow: bool = False,
        connected: bool = False,
    ) -> None:
        """What a proxy's connection fails by, the proxy tries again, or turns into an answer if it reads HTTP; else it
        closes its own; not where it is `connected`, and waits as long as its client. `is_slow`: it takes seconds to
        fail, so that a time-out may come first."""
        failed = Failed(self, kind, cause, status, flag, failure, is_slow)
        if self.doubts:
            kind, cause, status, flag = End.UNKNOWN, self._doubt(kind, cause, status, flag), None, ""
            failure = Failure.UNKNOWN
        pod, machine = (self.pod, self.machine) if kind in (End.DELIVERED, End.RESPONSE, End.RESET) else ("", "")
        for each in () if connected else reversed(self.proxies):
            if each.timeout and kind in _UNCONNECTED and (is_slow or kind is End.TIMEOUT):
                kind, flag, pod, machine = End.UNKNOWN, "", "", ""
                cause = f"it fails slowly, so that the route's timeout of {each.timeout:g} s may come first: {cause}"
                break
            would_retry = each.attempt is not None and each.attempt.retries(kind, status, self.is_grpc)
            if each.attempt is not None and would_retry and not each.attempt.is_last:
                each.attempt.failed.append(failed)
                return
            if kind in _BROKEN and each.reads_http:
                flag = f"{_SPENT},{_BROKEN[kind]}" if would_retry else _BROKEN[kind]
                kind, status, pod, machine = End.RESPONSE, 503, each.pod, each.machine
            elif kind in _UNCONNECTED:
                kind, flag, pod, machine = End.RESET, f"{_BROKEN[kind]},{_SPENT}", each.pod, each.machine
        if kind is End.RESPONSE and self.is_grpc:
            status = 200
        self.tape.outcomes.append(
            Outcome(
                self.probability,
                kind,
                self.last or 0,
                status,
                flag,
                self.cluster,
                self.endpoint,
                pod,
                cause,
                failure,
                machine,
            )
        )

    def doubt(self, filter_: str) -> Branch:
        """Behind a filter that is not read here."""
        return replace(self, doubts=(*self.doubts, filter_))

    def _doubt(self, kind: End, cause: str, status: int | None, flag: str) -> str:
        named = ", ".join(dict.fromkeys(self.doubts))
        what = f"what the filter {named} does is not known here"
        if kind is End.UNKNOWN:
            return f"{what}; {cause}"
        words = " ".join(str(word) for word in (kind.value if status is None else status, flag) if word)
        end = cause or "the app answers" if kind is End.DELIVERED else f"{words}, {cause}"
        return f"{what}; if it lets this pass: {end}"

    def beyond(self, *, side: Side, pod: str) -> Branch:
        """The same way, in another pod."""
        return replace(self, side=side, pod=pod)

    def through(self, cluster: str, endpoint: str = "") -> Branch:
        """What the client's proxy, or a gateway, chose is what an outcome tells: the server's has no choice."""
        return self if self.side is Side.SERVER else replace(self, cluster=cluster, endpoint=endpoint)
