"""What the rules do with a connection, and each step on the way there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from pilotfish.capture.connection import Address, Connection
from pilotfish.capture.rule import Rule


@dataclass(frozen=True, slots=True)
class Accepted:
    """It goes where it was meant to go."""

    rule: str = field(default="", compare=False)
    """In every verdict: the id of the rule that decided, here the last that let it pass; "" where none did."""

    def __str__(self) -> str:
        return "accepted as it is"


@dataclass(frozen=True, slots=True)
class Redirected:
    """To a port of this namespace; SO_ORIGINAL_DST tells where it was meant to go."""

    port: int
    dns: bool = False
    """The rule is for DNS: it asks for port 53."""
    rule: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{'DNS ' if self.dns else ''}redirected to port {self.port}"


@dataclass(frozen=True, slots=True)
class Tproxied:
    """To the socket of a transparent proxy, source and destination unchanged. Policy routing must know the mark."""

    port: int
    mark: int
    rule: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"TPROXY to port {self.port} with mark {self.mark} ({self.mark:#x})"


@dataclass(frozen=True, slots=True)
class Translated:
    """To another address (DNAT); no rule of ours does it."""

    destination: Address
    port: int
    rule: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"translated to {self.destination} port {self.port}"


@dataclass(frozen=True, slots=True)
class Dropped:
    rule: str = field(default="", compare=False)

    def __str__(self) -> str:
        return "dropped"


@dataclass(frozen=True, slots=True)
class Unknown:
    """Something matters that the evaluator does not know."""

    why: str
    rule: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"unknown: {self.why}"


Verdict = Accepted | Redirected | Tproxied | Translated | Dropped | Unknown


class VisitEvent(StrEnum):
    ENTERED = "entered"
    """A chain."""
    MATCHED = "matched"
    NOT_MATCHED = "not matched"
    UNKNOWN = "unknown"
    """Whether the rule matches can't be told."""
    RETURNED = "returned"
    """From a chain to the one that called it."""
    POLICY = "policy"
    """The end of one of the kernel's own chains."""
    SKIPPED = "skipped"
    """A chain that this packet does not pass, though it passes the hook."""


@dataclass(frozen=True, slots=True)
class Visit:
    event: VisitEvent
    hook: str
    """Where in the kernel: OUTPUT, PREROUTING ..."""
    id: str
    """`nat/ISTIO_OUTPUT/3` for a rule, `nat/ISTIO_OUTPUT` for a chain."""
    why: str
    """The options that decided, with what the packet has instead."""
    rule: Rule | None = None


@dataclass(frozen=True, slots=True)
class Evaluation:
    connection: Connection
    verdict: Verdict
    mark: int
    """The packet's, where it arrives or leaves."""
    connection_mark: int
    """What conntrack keeps for the connection."""
    _explain: Callable[[], tuple[Visit, ...]] = field(compare=False, repr=False)

    @property
    def visited(self) -> tuple[Visit, ...]:
        """Every chain and rule in the order visited. Walks once more: asking for the verdict alone stays cheap."""
        return self._explain()
