"""A Trace made ready to be shown: stretches of the way, each in one pod, that part where chance decides.

    Trace ─build_report─▶ Report: Leg ─▶ Leg, Leg … ─▶ Ending
                            ├ cli.render.way   for a terminal
                            └ picture          SVG and HTML

Ways that differ in nothing but the pod (the replicas of a Deployment) are one Leg that knows the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from pilotfish.explain.ask import OUTSIDE, Ask
from pilotfish.explain.call import Failure
from pilotfish.explain.live import Marks, Observed, compare
from pilotfish.explain.owner import Owner, Owners
from pilotfish.explain.trace import End, Outcome, Side, Stage, Step, Trace, Verdict
from pilotfish.explain.words import decides, say_answer, say_asked, say_end, say_step

_MOST_ALIKE: Final = 3
"""Ways beside each other that are alike and are shown each."""
_NAMED_BY_PLACE: Final = (Stage.ENDPOINT, Stage.APP)
"""Stages whose steps are alike whatever their name, as it is an address."""


@dataclass(frozen=True, slots=True)
class Stop:
    """A step, as it is told."""

    step: Step
    says: str
    decides: bool
    """Else it follows of itself, and is left out where not all is asked for."""
    owner: Owner | None = None
    mark: bool | None = None
    """Whether the request that was really sent confirms it; None where nothing was seen of it."""


@dataclass(frozen=True, slots=True)
class Ending:
    outcome: Outcome
    says: str

    @property
    def tone(self) -> Verdict:
        return _tone(self.outcome)


@dataclass(frozen=True, slots=True)
class Leg:
    side: Side
    pod: str
    """`NAME.NAMESPACE`; "" outside of every pod."""
    probability: float
    """That a request comes here; of those in `alike`, too."""
    stops: tuple[Stop, ...]
    onward: tuple[Leg, ...] = ()
    """None where it ends."""
    ending: Ending | None = None
    alike: tuple[Leg, ...] = ()
    """The others that this one stands for."""

    def is_in(self, other: Leg) -> bool:
        """The same pod, in the same part."""
        return (self.side, self.pod) == (other.side, other.pod)

    @property
    def place(self) -> str:
        return self.pod or OUTSIDE

    @property
    def machine(self) -> str:
        """Whose proxy serves the pod there; "" where its own does, or none."""
        found = next((stop.step.machine for stop in self.stops if stop.step.machine), "")
        return found or next((leg.machine for leg in self.onward if leg.is_in(self) and leg.machine), "")

    @property
    def tone(self) -> Verdict:
        return self.ending.tone if self.ending is not None else Verdict.UNKNOWN

    @property
    def says(self) -> str:
        """How it ends; "" where it goes on."""
        if self.ending is not None:
            return self.ending.says
        return "" if self.onward else "the proxy tries again"


def _tone(outcome: Outcome) -> Verdict:
    """TAKEN where the request gets what it asks for, UNKNOWN where that is not known: out of the mesh."""
    if outcome.kind is End.UNKNOWN or (outcome.kind is End.DELIVERED and not outcome.pod):
        return Verdict.UNKNOWN
    answered = outcome.kind is End.RESPONSE and outcome.status is not None and outcome.status < 400
    return Verdict.TAKEN if answered or outcome.kind is End.DELIVERED else Verdict.REFUSED


@dataclass(frozen=True, slots=True)
class Report:
    answer: str
    source: str
    """Who asks: `NAME.NAMESPACE`, or `outside`."""
    asked: str
    """What: `POST http://calculator:8888/add`, what else it has, such as `, end-user: jason`."""
    way: Leg
    outcomes: tuple[Outcome, ...]
    observed: Observed | None = None

    @property
    def tone(self) -> Verdict:
        """That of all ends, if they have the same."""
        tones = {_tone(outcome) for outcome in self.outcomes}
        return tones.pop() if len(tones) == 1 else Verdict.UNKNOWN

    def walk(self) -> Iterator[Leg]:
        """Each leg before those that go on from it."""
        waiting = [self.way]
        while waiting:
            leg = waiting.pop()
            yield leg
            waiting += reversed(leg.onward)

    def stops(self) -> Iterator[Stop]:
        return (stop for leg in self.walk() for stop in leg.stops)


def build_report(source: str, ask: Ask, trace: Trace, owners: Owners, observed: Observed | None = None) -> Report:
    """`observed`: the same request, really sent."""
    builder = _Builder(trace, owners, compare(trace, observed) if observed is not None else {})
    return Report(
        say_answer(((outcome, builder.asking(outcome)) for outcome in trace.outcomes), builder.past()),
        source,
        ", ".join(_asked(ask)),
        builder.way(source),
        trace.outcomes,
        observed,
    )


def _asked(ask: Ask) -> Iterator[str]:
    request = ask.request
    yield ask.url if request.method == "GET" else f"{request.method} {ask.url}"
    if request.host.rpartition(":")[0] != ask.host and request.host.strip("[]") != ask.host:
        yield f"Host: {request.host}"
    yield from (f"{name}: {value}" for name, value in ask.shown_headers.items())
    if ask.tls is not None and ask.tls.server_name not in ("", ask.host):
        yield f"server name {ask.tls.server_name}"


def say_observed(report: Report) -> tuple[str, str] | None:
    """(what was seen of the request that was really sent, whether it is as predicted); None where none was sent."""
    if report.observed is None:
        return None
    marks = [stop.mark for stop in report.stops() if stop.mark is not None]
    wrong = [stop.step.name for stop in report.stops() if stop.mark is False]
    said = "as predicted" if marks and not wrong else f"not as predicted{': ' if wrong else ''}{', '.join(wrong)}"
    return ", ".join(report.observed.told()), said


def describe(report: Report) -> str:
    """The whole of it in sentences."""
    lines = [f"{report.answer}."]
    for leg in report.walk():
        told = [f"{stop.step.stage.replace('_', ' ')}: {stop.says}" for stop in leg.stops if stop.decides]
        told += [leg.ending.says] if leg.ending is not None else []
        if told:
            by = f" by the proxy of machine {leg.machine}" if leg.machine else ""
            lines.append(f"{leg.side} {leg.place}{by}: {'; '.join(told)}.")
    return " ".join(lines)


class _Builder:
    def __init__(self, trace: Trace, owners: Owners, marks: Marks) -> None:
        self._trace, self._owners, self._marks = trace, owners, marks
        self._steps: dict[int | None, list[Step]] = {}
        self._outcomes: dict[int | None, list[Outcome]] = {}
        for step in trace.steps:
            self._steps.setdefault(step.parent, []).append(step)
        for outcome in trace.outcomes:
            self._outcomes.setdefault(outcome.last_step if trace.steps else None, []).append(outcome)

    def way(self, source: str) -> Leg:
        """It begins at the client, whether or not a step is taken there."""
        legs = self.legs(None)
        if len(legs) == 1 and legs[0].side is Side.CLIENT:
            return legs[0]
        return Leg(Side.CLIENT, source if source != OUTSIDE else "", 1.0, (), legs)

    def legs(self, parent: Step | None) -> tuple[Leg, ...]:
        """What goes on from a step."""
        at = parent.id if parent is not None else None
        ends = (self._end(parent, outcome) for outcome in self._outcomes.get(at, ()))
        return tuple(_fold((*ends, *(self._leg(step) for step in self._steps.get(at, ())))))

    def _end(self, parent: Step | None, outcome: Outcome) -> Leg:
        side, pod = (parent.side, parent.pod) if parent is not None else (Side.CLIENT, "")
        return Leg(side, pod, outcome.probability, (), ending=self._ending(outcome))

    def _leg(self, first: Step) -> Leg:
        run = [first]
        while (after := self._next(run[-1])) is not None:
            run.append(after)
        stops, onward = tuple(map(self._stop, run)), self.legs(run[-1])
        leg = Leg(first.side, first.pod, first.probability, stops, onward)
        if len(onward) == 1 and onward[0].ending is not None and not onward[0].stops:
            return replace(leg, onward=(), ending=onward[0].ending)
        return leg

    def _next(self, step: Step) -> Step | None:
        """The only one, in the same pod."""
        after = self._steps.get(step.id, ())
        if len(after) != 1 or step.id in self._outcomes:
            return None
        return after[0] if (after[0].side, after[0].pod) == (step.side, step.pod) else None

    def _stop(self, step: Step) -> Stop:
        mark = self._marks.get(step.id)
        owner = self._owners.get(step.id)
        return Stop(step, say_step(step), mark is False or decides(step, self._trace), owner, mark)

    def _ending(self, outcome: Outcome) -> Ending:
        return Ending(outcome, say_end(outcome))

    def asking(self, outcome: Outcome) -> tuple[str, ...]:
        """Who led there: the nearest object on the way, and of endpoints who sends it to them. What is denied is so
        wherever it comes from."""
        found: list[str] = []
        at: int | None = outcome.last_step if self._trace.steps else None
        while at is not None:
            step = self._trace.steps[at]
            owner = self._owners.get(step.id)
            if owner is not None and (said := say_asked(step, owner)):
                found.append(said)
                if step.stage is not Stage.ENDPOINT:
                    break
            at = step.parent if outcome.failure is not Failure.DENIED else None
        return tuple(found)

    def past(self) -> tuple[str, ...]:
        """Which pods' annotations lead past their proxies: no rule of the mesh holds there."""
        steps = (step for step in self._trace.steps if step.stage is Stage.NETFILTER and step.id in self._owners)
        return tuple(dict.fromkeys(f"past the proxy of {s.pod}: {self._owners[s.id]} asks for it" for s in steps))


def _fold(legs: Iterable[Leg]) -> Iterator[Leg]:
    """Those that are alike, if there are many, as one where the first of them stood."""
    groups: dict[object, list[Leg]] = {}
    for leg in legs:
        groups.setdefault(_likeness(leg), []).append(leg)
    for group in groups.values():
        if len(group) > _MOST_ALIKE:
            yield _merge(group)
        else:
            yield from group


def _likeness(leg: Leg) -> object:
    """Equal for legs that differ in pods and addresses alone."""
    steps = tuple(
        (stop.step.stage, stop.step.verdict, stop.step.written, stop.mark, _name_of(stop.step)) for stop in leg.stops
    )
    end = leg.ending.outcome if leg.ending is not None else None
    ending = (end.kind, end.status, end.flag, bool(end.pod)) if end is not None else ()
    return leg.side, bool(leg.pod), steps, ending, tuple(map(_likeness, leg.onward))


def _name_of(step: Step) -> str:
    return "" if step.stage in _NAMED_BY_PLACE and step.name != "none" else step.name


def _merge(legs: Sequence[Leg]) -> Leg:
    first, *others = legs
    onward = tuple(map(_merge, zip(*(leg.onward for leg in legs), strict=True)))
    alike = (*first.alike, *(each for leg in others for each in (leg, *leg.alike)))
    return replace(first, probability=sum(leg.probability for leg in legs), onward=onward, alike=alike)
