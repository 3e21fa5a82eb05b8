"""Where requests go from and to: the pods as traffic meets them, and the kernel's own share of Services."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from pilotfish.capture import Evaluator, RuleSet
from pilotfish.explain.held import Held
from pilotfish.model.frontend import Frontend
from pilotfish.model.names import NameTable

Family = Literal[4, 6]


@dataclass(frozen=True)
class Station:
    """A pod."""

    name: str
    """`NAME.NAMESPACE`."""
    namespace: str
    addresses: tuple[str, ...]
    captured: bool
    """Netfilter rules send its traffic to its proxy."""
    _rules: Callable[[Family], RuleSet] = field(repr=False)
    _held: Callable[[], Held | None] = field(repr=False)
    """None: it has no proxy."""
    _names: Callable[[], NameTable] = field(repr=False)
    _listening: Callable[[], Set[tuple[str, int]] | None] = field(default=lambda: None, repr=False)
    is_gateway: bool = False
    machine: str = ""
    """Whose proxy serves it; "" where it has one of its own, or none."""
    netns: str = ""
    """The file of its network namespace, by which a machine's proxy knows it; "" with a proxy of its own."""
    _identity: Callable[[], str] = field(default=str, repr=False)
    _evaluators: dict[Family, Evaluator] = field(default_factory=dict, repr=False)

    @property
    def address(self) -> str:
        """From which it calls; "" where nobody knows it."""
        return next(iter(self.addresses), "")

    @cached_property
    def held(self) -> Held | None:
        return self._held()

    @cached_property
    def names(self) -> NameTable:
        return self._names()

    @cached_property
    def identity(self) -> str:
        """Who its proxy is to others: `spiffe://…`; "" if it has no certificate of the mesh."""
        return self._identity()

    @cached_property
    def listening(self) -> Set[tuple[str, int]] | None:
        """Where its app listens, by address and port; None where nobody knows."""
        return self._listening()

    def evaluator(self, family: Family) -> Evaluator:
        """Of the rules that its network namespace holds."""
        if family not in self._evaluators:
            self._evaluators[family] = Evaluator(self._rules(family))
        return self._evaluators[family]

    def hears(self, address: str, port: int) -> bool | None:
        """Whether somebody listens there; None where nobody knows."""
        if self.listening is None:
            return None
        any_ = ("0.0.0.0", "::") if ":" not in address else ("::",)
        return any((each, port) in self.listening for each in (address, *any_))


@dataclass(frozen=True)
class Scene:
    stations: Mapping[str, Station]
    """By `NAME.NAMESPACE`."""
    _frontends: Callable[[], tuple[Frontend, ...]] = field(default=tuple, repr=False)
    outside: Callable[[str], tuple[str, ...] | None] = lambda _: None
    """What the machine's resolvers answer for a name; None where they can't be asked."""
    entrance: Station | None = None
    """The gateway to which all names and addresses lead from outside; None: they lead where the Services do."""
    beyond: str = "it leaves the mesh: {} is no pod's"
    """What is said of an address that is nobody's here."""
    describe_closed: Callable[[str], str] = lambda _: ""
    """Why nothing leads to such an address; "" where it is not known that it is so."""

    @cached_property
    def frontends(self) -> tuple[Frontend, ...]:
        """Services as the node's kernel serves them."""
        return self._frontends()

    @cached_property
    def _by_address(self) -> Mapping[str, Station]:
        return {address: each for each in self.stations.values() for address in each.addresses}

    @cached_property
    def _by_place(self) -> Mapping[tuple[str, int], Frontend]:
        tcp = (each for each in self.frontends if each.transport == "TCP")
        return {(address, each.port): each for each in tcp for address in each.addresses}

    @cached_property
    def _service_addresses(self) -> Set[str]:
        return {address for each in self.frontends for address in each.addresses}

    @cached_property
    def _by_netns(self) -> Mapping[str, Station]:
        return {each.netns: each for each in self.stations.values() if each.netns}

    def at(self, address: str) -> Station | None:
        return self._by_address.get(address)

    def inside(self, netns: str) -> Station | None:
        """The pod whose network namespace has this file."""
        return self._by_netns.get(netns)

    def frontend(self, address: str, port: int) -> Frontend | None:
        return self._by_place.get((address, port))

    def is_service(self, address: str) -> bool:
        """The kernel answers for it, on every port: what no Service has is refused."""
        return address in self._service_addresses
