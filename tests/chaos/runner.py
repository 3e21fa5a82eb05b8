"""A plan, done to a real mesh under load, with the invariants held against it after each step."""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

from pilotfish.runtime.control.client import Unreachable
from tests.chaos import gauges
from tests.chaos.actions import Action, ChangeRoute
from tests.chaos.flows import PodLoad
from tests.chaos.gauges import Held
from tests.chaos.ledger import Failure, judge
from tests.chaos.plan import Step
from tests.chaos.stage import Broken, RealStage
from tests.chaos.world import KEPT, LOAD, files
from tests.e2e.harness import Mesh, running_mesh

_CALM = 5
"""Changes that are measured before the first step."""
_MOST_BROKEN = 5
"""More would follow from these."""


@dataclass
class Report:
    actions: Counter[str] = field(default_factory=Counter)
    done: Counter[str] = field(default_factory=Counter)
    """Requests by flow; words over a connection for those that hold one."""
    allowed: Counter[str] = field(default_factory=Counter)
    delays: list[float] = field(default_factory=list)
    calm: float = 0.0
    held: dict[str, list[Held]] = field(default_factory=dict)
    """From the calm mesh on, every `gauges.EVERY` seconds."""
    broken: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        requests = sum(n for flow, n in self.done.items() if flow not in KEPT)
        yield f"{self.actions.total()} actions, {requests} requests, {len(KEPT)} connections held"
        yield f"failures that the plan allows: {self.allowed.total()} {dict(self.allowed) or ''}"
        if self.delays:
            yield (
                f"{len(self.delays)} changes live after {median(self.delays):.2f} s (median), {max(self.delays):.2f} s"
                f" (the last); {self.calm:.2f} s on the calm mesh"
            )
        for who, samples in self.held.items():
            tenths = [samples[i * (len(samples) - 1) // 10] for i in range(11)] if len(samples) > 10 else samples
            memory = ", ".join(f"{each.memory:.0f}" for each in tenths)
            descriptors = f"{samples[0].descriptors} descriptors at first, {samples[-1].descriptors} at last"
            yield f"{who}: {memory} MB; {descriptors}"
        yield f"{len(self.broken)} invariants broken"


def run(plan: Iterable[Step], seconds: float, replay: str, steps: int = 0) -> Report:
    """Until the time is up, or `steps` are done. `replay`: the command that does the same again."""
    with running_mesh("chaos", files(), "--allow-plaintext") as mesh:
        loads = {pod: PodLoad(mesh, pod) for pod in LOAD}
        try:
            runner = Runner(mesh, loads, replay)
            runner.run(plan, time.monotonic() + seconds, steps)
        finally:
            for load in loads.values():
                load.stop()
    return runner.report


class Runner:
    def __init__(self, mesh: Mesh, loads: dict[str, PodLoad], replay: str) -> None:
        self.report = Report()
        self._mesh = mesh
        self._loads = loads
        self._replay = replay
        self._stage = RealStage(mesh, loads["client"])
        self._began = time.monotonic()

    def run(self, plan: Iterable[Step], end: float, steps: int) -> None:
        samples = [self._be_calm()]
        for step in plan:
            if time.monotonic() > end or len(self.report.broken) >= _MOST_BROKEN or (steps and step.number > steps):
                break
            self._do(step)
            if time.monotonic() > self._began + len(samples) * gauges.EVERY:
                samples.append(gauges.read(self._stage.status()))
        samples.append(self._what_stays(samples))
        self.report.held = {who: [sample[who] for sample in samples] for who in samples[0]}
        self.report.delays = self._stage.delays
        for pod in self._loads.values():
            self.report.done.update(pod.counts())
        for grown in gauges.grown(samples):
            self._broken("at the end", grown)

    def _what_stays(self, samples: list[dict[str, Held]]) -> dict[str, Held]:
        """Once what was freed has been given back."""
        until = time.monotonic() + gauges.GIVEN_BACK
        while gauges.grown([*samples, last := gauges.read(self._mesh.status)]) and time.monotonic() < until:
            time.sleep(0.5)
        return last

    def _be_calm(self) -> dict[str, Held]:
        stage = self._stage
        for number in range(_CALM):
            ChangeRoute(f"calm{number}", 0).perform(stage)
        stage.settled()
        self._judge("on the calm mesh", ())
        stage.be_calm()
        self.report.calm = stage.calm
        return gauges.read(stage.status())

    def _do(self, step: Step) -> None:
        self._stage.lateness = sum(action.allows().lateness for action in step.actions)
        with ThreadPoolExecutor(len(step.actions)) as pool:
            list(pool.map(lambda action: self._perform(step, action), step.actions))
        with self._holding(f"after step {step.number}: {_names(step.actions)}"):
            self._stage.settled()
        self._judge(f"step {step.number}: {_names(step.actions)}", step.actions)

    def _perform(self, step: Step, action: Action) -> None:
        self.report.actions[type(action).__name__] += 1
        began = time.monotonic()
        with self._holding(f"step {step.number}: {action}"):
            action.perform(self._stage)
        text = str(action) if len(str(action)) < 120 else f"{str(action)[:110]}...)"
        self._say(f"step {step.number:3}  {time.monotonic() - began:5.2f} s  {text}")

    def _judge(self, where: str, actions: Iterable[Action]) -> None:
        failures = [failure for load in self._loads.values() for failure in load.failures()]
        wrong = judge(failures, (action.allows() for action in actions))
        self.report.allowed.update(failure.flow for failure in failures if failure not in wrong)
        if wrong:
            self._broken(where, f"{len(wrong)} failures that the plan does not allow", wrong)

    @contextmanager
    def _holding(self, where: str) -> Iterator[None]:
        try:
            yield
        except (Broken, AssertionError, subprocess.SubprocessError, ValueError, Unreachable) as broken:
            self._broken(where, f"{type(broken).__name__}: {broken}")
            self._stage.restore()

    def _broken(self, where: str, what: str, failures: Iterable[Failure] = ()) -> None:
        evidence = [f"  {f.at - self._began:.2f} s: {f.flow}: {f.bad}" for f in failures][:20]
        text = "\n".join([f"BROKEN {where}: {what}", *evidence, *self._evidence(), f"  again: {self._replay}"])
        self.report.broken.append(text)
        self._say(text)

    def _evidence(self) -> Iterator[str]:
        """What status and the logs say just now."""
        try:
            status = self._mesh.status
        except Unreachable as error:
            yield f"  status does not answer: {error}"
            return
        yield f"  status: ready {status['ready']}, discovery {json.dumps(status['discovery'])}"
        for problem in status["problems"]:
            yield f"  problem: {json.dumps(problem)[:600]}"
        for pod in status["pods"]:
            containers = ", ".join(f"{c['name']} {c['state']} {c['reason']} {c['restarts']}" for c in pod["containers"])
            yield f"  {pod['name']} {pod['addresses'][:1]} {pod['reason']} ready {pod['ready']}: {containers}"
        for proxy in status["proxies"]:
            if not proxy["ready"] or not proxy["sync"] or set(proxy["sync"]["types"].values()) != {"SYNCED"}:
                yield f"  proxy {json.dumps(proxy)}"
        for log in sorted(self._mesh.state.glob("*/*.log")):
            yield f"  {log.name}:"
            yield from (f"    {line[:300]}" for line in log.read_text(errors="replace").splitlines()[-15:])
        for pod in ("client", "caller"):
            bad = [line for line in self._mesh.access_log(pod) if '" 200 ' not in line and '" 101 ' not in line]
            yield from (f"  {pod}'s Envoy: {line[:400]}" for line in bad[-6:])

    def _say(self, text: str) -> None:
        print(f"[{time.monotonic() - self._began:6.1f} s] {text}", flush=True)


def _names(actions: Iterable[Action]) -> str:
    return " + ".join(type(action).__name__ for action in actions)
