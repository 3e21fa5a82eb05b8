"""What is done to a mesh whose pods have one Envoy for the machine, beside all else: `ACTIONS` of that one."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar, Self

from tests.chaos.actions import UNDER_WAY, Action, Costless, Stage, Stall
from tests.chaos.ledger import Allowance
from tests.chaos.world import LOAD, again, route, sleeper, text

_FLOWS = tuple(flow for flows in LOAD.values() for flow in flows)


@dataclass(frozen=True, slots=True)
class KillMachinesEnvoy:
    """Whatever is under way in it is everybody's."""

    concerns: ClassVar = frozenset({"machine", "discovery", "victim"})

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls()

    def allows(self) -> Allowance:
        return Allowance(tuple((flow, UNDER_WAY) for flow in _FLOWS), lateness=2)

    def perform(self, stage: Stage) -> None:
        stage.kill("machine")
        stage.pause(0.5)  # connections that are held write four times a second, and only then are known to be cut


class StallMachinesEnvoy(Stall):
    """All wait, and nobody is refused."""

    concerns: ClassVar = frozenset({"machine"})
    whose = "machine"


class StallNode(Stall):
    """It answers no name and starts nothing meanwhile."""

    concerns: ClassVar = frozenset({"node"})
    whose = "mesh"


@dataclass(frozen=True, slots=True)
class ComeAgain(Costless):
    """A Namespace with a pod that goes, and comes with the same names and another account."""

    concerns: ClassVar = frozenset({"again"})
    accounts: tuple[str, ...]

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(tuple(draw.choice(("one", "two")) for _ in range(draw.randrange(2, 4))))

    def perform(self, stage: Stage) -> None:
        for account in self.accounts:
            stage.save("again.yaml", again(account))
            stage.whole("again")
            stage.answered("again.again", "steady.default")
            stage.remove("again.yaml")
            stage.gone("again")


@dataclass(frozen=True, slots=True)
class WithoutCertificate(Costless):
    """A pod that can't have one waits; the others' Envoy may even be killed meanwhile."""

    concerns: ClassVar = frozenset({"machine", "discovery", "victim", "moving", "moved", "again", "route"})
    name: str
    is_killed: bool

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(f"x{draw.randrange(10**6)}", draw.random() < 0.5)

    def allows(self) -> Allowance:
        return KillMachinesEnvoy().allows() if self.is_killed else Allowance()

    def perform(self, stage: Stage) -> None:
        with stage.uncertified():
            stage.save("late.yaml", text(sleeper("late")))
            if self.is_killed:
                KillMachinesEnvoy().perform(stage)
            since = stage.save("route.yaml", route(self.name))
            stage.live(since, f"steady/{self.name}", "beacon")
        stage.whole("late")
        stage.remove("late.yaml")
        stage.gone("late")


MACHINES: tuple[type[Action], ...] = (
    KillMachinesEnvoy,
    StallMachinesEnvoy,
    StallNode,
    ComeAgain,
    WithoutCertificate,
)
