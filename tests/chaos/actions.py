"""What chaos does: each action is one class, in the table `ACTIONS`.

An action is a frozen value. `draw` makes one from a seed and `allows` says what it may cost: both are pure. `perform`
does it to a `Stage`, waits for what it promises, and puts things right again.
"""

from __future__ import annotations

import random
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

from tests.chaos import hostile, stranger
from tests.chaos.bad import BAD, mutate
from tests.chaos.ledger import Allowance
from tests.chaos.world import deployment, destination_rule, mesh_config, moved, route, service, text, virtual_service


class Stage(Protocol):
    """What actions may do to a mesh."""

    def save(self, file: str, text: str) -> float:
        """Now, as editors do; when it was done."""

    def remove(self, file: str) -> None: ...

    def live(self, since: float, url: str, word: str) -> None:
        """A change was saved at `since`: within the limit this URL says this word, or an invariant is broken."""

    def named(self, file: str) -> None:
        """Wait until a Problem names this file: within the limit, or an invariant is broken."""

    def only(self, app: str, word: str, replicas: int) -> None:
        """Wait until an app has so many pods, all ready and of the form that says `word`."""

    def replaced(self, app: str, replicas: int) -> None:
        """Wait until an app has so many pods, all ready."""

    def delete_pod(self, pod: str) -> None: ...

    def put_strange(self, file: str, what: str) -> None:
        """`pipe`, `socket`, `link to ...`."""

    def whole(self, pod: str) -> None:
        """Wait until a pod and its proxy are ready."""

    def gone(self, pod: str) -> None:
        """Wait until there is no such pod."""

    def answered(self, pod: str, host: str) -> None:
        """A pod, `NAME.NAMESPACE`, calls a host and is answered with 200, or an invariant is broken."""

    def uncertified(self) -> AbstractContextManager[None]:
        """Meanwhile no pod gets a certificate."""
        ...

    def pod(self, app: str, which: int) -> str:
        """One pod with this `app` label: the oldest for 0."""

    def kill(self, whose: str) -> None:
        """`discovery`, the `machine`'s Envoy, a pod's (`POD/istio-proxy`) or its app (`POD/app`); wait until another is
        in its place."""

    def stall(self, whose: str, seconds: float) -> None:
        """Stop it, and let it go on. `mesh` is the node itself."""

    def rollout(self, app: str) -> None:
        """Restart a Deployment's pods, and wait until the old ones are gone."""

    def scale(self, app: str, replicas: int) -> None: ...

    def strike(self, how: str, seconds: float, whom: str) -> None:
        """Let `hostile.py` loose on the ports of `discovery` or of the pods of an app; returns when it is over."""

    def deceive(self, how: str, seconds: float, whose: str) -> None:
        """Let `stranger.py` speak xDS to discovery with the node id of a pod: from this pod (`POD`), or from the node
        (`not POD`); returns when it is over."""

    def ask_status(self, times: int) -> None:
        """So many `status` commands at once."""

    def pause(self, seconds: float) -> None: ...


class Action(Protocol):
    concerns: ClassVar[frozenset[str]]
    """What it touches. Actions that share one of these are never done at once."""

    @classmethod
    def draw(cls, draw: random.Random) -> Self: ...

    def allows(self) -> Allowance: ...

    def perform(self, stage: Stage) -> None: ...


class Costless:
    """The base of actions that may cost nobody anything."""

    def allows(self) -> Allowance:
        return Allowance()


def _name(draw: random.Random) -> str:
    return f"x{draw.randrange(10**6)}"


# Good changes

_ROUTES: tuple[dict[str, Any], ...] = (
    {},
    {"timeout": "20s"},
    {"retries": {"attempts": 3, "perTryTimeout": "5s", "retryOn": "connect-failure"}},
    {"name": "everything-else"},
)
_POLICIES: tuple[dict[str, Any], ...] = (
    {"loadBalancer": {"simple": "RANDOM"}},
    {"loadBalancer": {"simple": "LEAST_REQUEST"}},
    {"connectionPool": {"tcp": {"connectTimeout": "3s"}, "http": {"idleTimeout": "300s"}}},
    {"loadBalancer": {"simple": "ROUND_ROBIN"}, "connectionPool": {"http": {"maxRequestsPerConnection": 100}}},
)


@dataclass(frozen=True, slots=True)
class ChangeRoute(Costless):
    concerns: ClassVar = frozenset({"route"})
    name: str
    more: int

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(_name(draw), draw.randrange(len(_ROUTES)))

    def perform(self, stage: Stage) -> None:
        since = stage.save("route.yaml", route(self.name, **_ROUTES[self.more]))
        stage.live(since, f"steady/{self.name}", "beacon")


@dataclass(frozen=True, slots=True)
class SaveOften(Costless):
    """Faster than anything can take effect; the last one holds."""

    concerns: ClassVar = frozenset({"route"})
    names: tuple[str, ...]
    pause: float

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        names = tuple(_name(draw) for _ in range(draw.randrange(5, 40)))
        return cls(names, draw.choice((0.0, 0.01, 0.1)))

    def perform(self, stage: Stage) -> None:
        since = 0.0
        for number, name in enumerate(self.names):
            since = stage.save("route.yaml", route(name, **_ROUTES[number % len(_ROUTES)]))
            stage.pause(self.pause)
        stage.live(since, f"steady/{self.names[-1]}", "beacon")


@dataclass(frozen=True, slots=True)
class AddService(Costless):
    """One more Service of pods that have one, which leads to a port that they serve already; then it goes again."""

    concerns: ClassVar = frozenset({"extra"})
    name: str

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(_name(draw))

    def perform(self, stage: Stage) -> None:
        since = stage.save("extra.yaml", text(service(self.name, "steady")))
        stage.live(since, self.name, "steady")
        stage.remove("extra.yaml")


@dataclass(frozen=True, slots=True)
class AddPort(Costless):
    """One more Service that leads to a port of pods that no other names: their long connections stay.

    Not a TCP port: that it is not to be sniffed stands in the listener, which is drained whole (`envoy/inbound.py`).
    """

    concerns: ClassVar = frozenset({"port"})
    name: str
    port: int
    port_name: str

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(_name(draw), draw.randrange(7000, 7900), draw.choice(("http-more", "main", "grpc", "tls")))

    def perform(self, stage: Stage) -> None:
        port = {"name": self.port_name, "port": self.port, "targetPort": self.port}
        since = stage.save("port.yaml", text(service(self.name, "steady", port)))
        stage.live(since, self.name, "steady")
        stage.remove("port.yaml")


@dataclass(frozen=True, slots=True)
class ChangeMeshConfig(Costless):
    """It concerns every proxy's resources; then it is as before."""

    concerns: ClassVar = frozenset({"meshConfig"})
    config: str

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(f"connectTimeout: {draw.randrange(2, 20)}s\ndefaultConfig: {{drainDuration: 2s}}\n")

    def perform(self, stage: Stage) -> None:
        stage.save("mesh-config.yaml", text(mesh_config(self.config)))
        stage.pause(1)
        stage.remove("mesh-config.yaml")


@dataclass(frozen=True, slots=True)
class ChangePolicy(Costless):
    """How all that call `steady` and `moving` do it."""

    concerns: ClassVar = frozenset({"policy"})
    policy: int
    host: str

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(draw.randrange(len(_POLICIES)), draw.choice(("steady", "moving")))

    def perform(self, stage: Stage) -> None:
        stage.save("policy.yaml", text(destination_rule("policy", self.host, _POLICIES[self.policy])))


@dataclass(frozen=True, slots=True)
class RollOut(Costless):
    concerns: ClassVar = frozenset({"moving"})
    word: str

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(_name(draw))

    def perform(self, stage: Stage) -> None:
        stage.save("moving.yaml", text(deployment("moving", self.word)))
        stage.only("moving", self.word, 2)


@dataclass(frozen=True, slots=True)
class RollOutTwice(Costless):
    """The second begins while the first is under way."""

    concerns: ClassVar = frozenset({"moving"})
    words: tuple[str, str]
    pause: float

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls((_name(draw), _name(draw)), draw.uniform(0, 2))

    def perform(self, stage: Stage) -> None:
        stage.save("moving.yaml", text(deployment("moving", self.words[0])))
        stage.pause(self.pause)
        stage.save("moving.yaml", text(deployment("moving", self.words[1])))
        stage.only("moving", self.words[1], 2)


@dataclass(frozen=True, slots=True)
class Scale(Costless):
    concerns: ClassVar = frozenset({"moving"})
    word: str
    replicas: int

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(_name(draw), draw.choice((1, 3, 4)))

    def perform(self, stage: Stage) -> None:
        stage.scale("moving", self.replicas)
        stage.save("moving.yaml", text(deployment("moving", self.word)))
        stage.only("moving", self.word, 2)


@dataclass(frozen=True, slots=True)
class DeletePod(Costless):
    """Another takes its place."""

    concerns: ClassVar = frozenset({"moving"})
    which: int

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(draw.randrange(2))

    def perform(self, stage: Stage) -> None:
        stage.delete_pod(stage.pod("moving", self.which))
        stage.replaced("moving", 2)


@dataclass(frozen=True, slots=True)
class Move(Costless):
    """One save that leads all of `moved`'s traffic to its other version, and deletes the one that it leaves."""

    concerns: ClassVar = frozenset({"moved"})

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls()

    def perform(self, stage: Stage) -> None:
        for old, new in (("v1", "v2"), ("v2", "v1")):
            stage.save("moved.yaml", moved(old, new, to=old))
            stage.replaced("moved", 2)
            since = stage.save("moved.yaml", moved(new, to=new))
            stage.live(since, "moved", new)
            stage.replaced("moved", 1)


# Bad ones


@dataclass(frozen=True, slots=True)
class SaveBad(Costless):
    concerns: ClassVar = frozenset({"bad"})
    what: str
    name: str

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(draw.choice(tuple(BAD)), _name(draw))

    def perform(self, stage: Stage) -> None:
        stage.save("bad.yaml", BAD[self.what](self.name))
        stage.named("bad.yaml")
        stage.remove("bad.yaml")


@dataclass(frozen=True, slots=True)
class SaveMutated(Costless):
    """Something that was good once. Nobody knows what it is now; nobody else may be harmed by it."""

    concerns: ClassVar = frozenset({"mutated"})
    text: str

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        name = _name(draw)
        goods = (
            service(name, "nobody"),
            virtual_service(name, "nobody.example.com", timeout="1s"),
            destination_rule(name, "nobody.example.com", _POLICIES[2]),
        )
        return cls(mutate(text(*goods), draw))

    def perform(self, stage: Stage) -> None:
        stage.save("mutated.yaml", self.text)
        stage.pause(0.5)
        stage.remove("mutated.yaml")


@dataclass(frozen=True, slots=True)
class StrangeFile(Costless):
    """What is no file, with a manifest's name: whoever opens it waits for ever, or gets nothing."""

    concerns: ClassVar = frozenset({"strange"})
    what: str

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(draw.choice(("pipe", "socket", "link to nothing", "link to itself", "link to a device")))

    def perform(self, stage: Stage) -> None:
        stage.put_strange("strange.yaml", self.what)
        stage.named("strange.yaml")
        stage.remove("strange.yaml")


@dataclass(frozen=True, slots=True)
class SaveBig(Costless):
    """Much of a text that is nothing."""

    concerns: ClassVar = frozenset({"big"})
    documents: bool
    size: int

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(draw.random() < 0.5, draw.randrange(100_000, 3_000_000))

    def perform(self, stage: Stage) -> None:
        unit, start = ("--- x\n", "") if self.documents else ("x, ", "a: [")
        stage.save("big.yaml", start + unit * (self.size // len(unit)))
        stage.pause(2)
        stage.remove("big.yaml")


# Kills and stalls

UNDER_WAY = 4
"""Requests of one flow that a killed Envoy may cost: those under way in it, and until its ports were handed on."""


@dataclass(frozen=True, slots=True)
class KillEnvoy:
    """One of `victim`'s. A new Envoy has no listeners without a discovery: docs/design/killed-envoy.md."""

    concerns: ClassVar = frozenset({"victim", "discovery"})
    which: int

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(draw.randrange(2))

    def allows(self) -> Allowance:
        return Allowance((("victim", UNDER_WAY),), lateness=2)

    def perform(self, stage: Stage) -> None:
        stage.kill(f"{stage.pod('victim', self.which)}/istio-proxy")


@dataclass(frozen=True, slots=True)
class KillCallersEnvoy:
    concerns: ClassVar = frozenset({"caller", "discovery"})

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls()

    def allows(self) -> Allowance:
        return Allowance((("caller", UNDER_WAY), ("caller-tcp", UNDER_WAY)), lateness=2)

    def perform(self, stage: Stage) -> None:
        stage.kill("caller/istio-proxy")
        stage.pause(0.5)  # the connection that it held writes four times a second, and only then is known to be cut


@dataclass(frozen=True, slots=True)
class KillApp:
    """Its pod is replaced afterwards: a second kill would be answered by ten seconds of back-off, as kubelet has it."""

    concerns: ClassVar = frozenset({"victim"})
    which: int

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(draw.randrange(2))

    def allows(self) -> Allowance:
        return Allowance((("victim", 100),))

    def perform(self, stage: Stage) -> None:
        pod = stage.pod("victim", self.which)
        stage.kill(f"{pod}/app")
        stage.whole(pod)
        stage.rollout("victim")


@dataclass(frozen=True, slots=True)
class KillDiscovery:
    concerns: ClassVar = frozenset({"discovery"})

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls()

    def allows(self) -> Allowance:
        return Allowance(lateness=4)

    def perform(self, stage: Stage) -> None:
        stage.kill("discovery")


@dataclass(frozen=True, slots=True)
class Stall:
    """The base of those that stall a process of which there is but one."""

    whose: ClassVar[str]
    """As `Stage.stall` has it."""
    seconds: float

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(draw.uniform(0.5, 3))

    def allows(self) -> Allowance:
        return Allowance(lateness=self.seconds + 2)

    def perform(self, stage: Stage) -> None:
        stage.stall(self.whose, self.seconds)


class StallDiscovery(Stall):
    concerns: ClassVar = frozenset({"discovery"})
    whose = "discovery"


@dataclass(frozen=True, slots=True)
class StallEnvoy:
    """It answers nobody, and takes no configuration either; a pod that ends waits for it, for a while."""

    concerns: ClassVar = frozenset({"victim"})
    which: int
    seconds: float

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(draw.randrange(2), draw.uniform(0.5, 3))

    def allows(self) -> Allowance:
        return Allowance((("victim", 100),), lateness=self.seconds + 2)

    def perform(self, stage: Stage) -> None:
        stage.stall(f"{stage.pod('victim', self.which)}/istio-proxy", self.seconds)


@dataclass(frozen=True, slots=True)
class StallApp:
    concerns: ClassVar = frozenset({"victim"})
    which: int
    seconds: float

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(draw.randrange(2), draw.uniform(0.5, 3))

    def allows(self) -> Allowance:
        return Allowance((("victim", 100),))

    def perform(self, stage: Stage) -> None:
        stage.stall(f"{stage.pod('victim', self.which)}/app", self.seconds)


# Clients that mean harm


@dataclass(frozen=True, slots=True)
class StrikePods(Costless):
    """By the ports of pods that serve others, and those of their sidecars."""

    concerns: ClassVar = frozenset({"strike"})
    how: str
    whom: str
    seconds: float

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(draw.choice(tuple(hostile.WAYS)), draw.choice(("steady", "moving")), draw.uniform(1, 4))

    def perform(self, stage: Stage) -> None:
        stage.strike(self.how, self.seconds, self.whom)


@dataclass(frozen=True, slots=True)
class StrikeDiscovery(Costless):
    concerns: ClassVar = frozenset({"strike"})
    how: str
    seconds: float

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(draw.choice(tuple(hostile.WAYS)), draw.uniform(1, 4))

    def perform(self, stage: Stage) -> None:
        stage.strike(self.how, self.seconds, "discovery")


@dataclass(frozen=True, slots=True)
class Deceive(Costless):
    """Discovery, in the name of a proxy: of one's own pod, or of another's."""

    concerns: ClassVar = frozenset({"strike", "victim"})
    how: str
    seconds: float
    is_inside: bool
    which: int

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(draw.choice(tuple(stranger.WAYS)), draw.uniform(1, 4), draw.random() < 0.7, draw.randrange(2))

    def perform(self, stage: Stage) -> None:
        if self.is_inside:
            stage.deceive(self.how, self.seconds, stage.pod("victim", self.which))
        else:
            stage.deceive(self.how, self.seconds, f"not {stage.pod('steady', 0)}")


@dataclass(frozen=True, slots=True)
class AskStatus(Costless):
    concerns: ClassVar = frozenset({"status"})
    times: int

    @classmethod
    def draw(cls, draw: random.Random) -> Self:
        return cls(draw.randrange(2, 12))

    def perform(self, stage: Stage) -> None:
        stage.ask_status(self.times)


ACTIONS: tuple[type[Action], ...] = (
    ChangeRoute,
    SaveOften,
    AddService,
    AddPort,
    ChangeMeshConfig,
    ChangePolicy,
    RollOut,
    RollOutTwice,
    Scale,
    DeletePod,
    Move,
    SaveBad,
    SaveMutated,
    StrangeFile,
    SaveBig,
    KillEnvoy,
    KillCallersEnvoy,
    KillApp,
    KillDiscovery,
    StallDiscovery,
    StallEnvoy,
    StallApp,
    StrikePods,
    StrikeDiscovery,
    Deceive,
    AskStatus,
)
