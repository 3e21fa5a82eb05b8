"""The packet filter of one family in one namespace: tables of chains of rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pilotfish.capture.rule import Rule

TABLES = ("mangle", "nat", "raw", "filter", "security")
OWN_CHAINS = frozenset(
    f"ISTIO_{name}"
    for name in ("INBOUND", "IN_REDIRECT", "OUTPUT", "OUTPUT_DNS", "REDIRECT", "DIVERT", "TPROXY", "DROP")
)
"""Chains that are ours alone."""


@dataclass(frozen=True, slots=True)
class Chain:
    name: str
    rules: tuple[Rule, ...] = ()
    policy: str = ""
    """What becomes of a packet at the end, for the kernel's own chains; "" for one that was made."""
    inserted: int = field(default=0, compare=False)
    """So many rules at the beginning go before whatever others have in this chain."""


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    chains: tuple[Chain, ...] = ()
    """By name. A chain of the kernel's that is empty and accepts is left out, as it does nothing."""

    def has(self, chain: str) -> bool:
        return any(found.name == chain for found in self.chains)

    def chain(self, name: str) -> Chain:
        """An empty one if there is none."""
        return next((chain for chain in self.chains if chain.name == name), Chain(name))


@dataclass(frozen=True, slots=True)
class RuleSet:
    tables: tuple[Table, ...] = ()
    """In the order mangle, nat, raw; one without chains is left out."""

    @classmethod
    def build(cls, tables: Mapping[str, Iterable[Chain]]) -> RuleSet:
        """The one form of what may be given in any order."""
        built = (Table(name, _sorted_chains(tables[name])) for name in sorted(tables, key=_table_order))
        return cls(tuple(table for table in built if table.chains))

    def table(self, name: str) -> Table:
        """An empty one if there is none."""
        return next((table for table in self.tables if table.name == name), Table(name))

    def numbered(self) -> Iterator[tuple[str, Rule]]:
        """Every rule with its id: `nat/ISTIO_OUTPUT/3` is the third rule of that chain."""
        for table in self.tables:
            for chain in table.chains:
                for number, rule in enumerate(chain.rules, 1):
                    yield f"{table.name}/{chain.name}/{number}", rule


def _sorted_chains(chains: Iterable[Chain]) -> tuple[Chain, ...]:
    kept = (chain for chain in chains if chain.rules or chain.policy not in ("ACCEPT",))
    return tuple(sorted(kept, key=lambda chain: chain.name))


def _table_order(name: str) -> tuple[int, str]:
    return (TABLES.index(name) if name in TABLES else len(TABLES), name)


def family_of(ruleset: RuleSet) -> Literal[4, 6] | None:
    """By the addresses in its rules; None if there are none, or of both families (nft)."""
    options = (option for _, rule in ruleset.numbered() for match in rule.matches for option in match.options)
    found = {6 if ":" in option.value else 4 for option in options if option.name in ("-s", "-d")}
    return (6 if 6 in found else 4) if len(found) == 1 else None
