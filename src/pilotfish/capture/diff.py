"""What the kernel has against what it is to have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from typing import Literal

from pilotfish.capture.ownership import is_own
from pilotfish.capture.rule import Rule, render_rule
from pilotfish.capture.ruleset import OWN_CHAINS, RuleSet, Table


@dataclass(frozen=True, slots=True)
class Difference:
    kind: Literal["missing", "unexpected"]
    """A rule in the wrong place is both, once each."""
    id: str
    """`nat/ISTIO_OUTPUT/3`, without the number for a chain: where it is missing from, or where it stands."""
    rule: str
    """`-N CHAIN` for a whole chain, whose rules follow."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.id}: {self.rule}"


def diff(expected: RuleSet, actual: RuleSet) -> tuple[Difference, ...]:
    """Counters do not matter, nor do others' rules in the kernel's own chains."""
    names = dict.fromkeys(table.name for table in (*expected.tables, *actual.tables))
    return tuple(difference for name in names for difference in _diff_table(expected.table(name), actual.table(name)))


def _diff_table(expected: Table, actual: Table) -> Iterator[Difference]:
    for name in dict.fromkeys(chain.name for chain in (*expected.chains, *actual.chains)):
        place = f"{expected.name}/{name}"
        wanted = [(n, _uncounted(rule)) for n, rule in enumerate(expected.chain(name).rules, 1)]
        known = {rule for _, rule in wanted}
        found = [(n, _uncounted(rule)) for n, rule in enumerate(actual.chain(name).rules, 1)]
        if name not in OWN_CHAINS:
            found = [(n, rule) for n, rule in found if rule in known or is_own(actual, name, rule)]
        elif expected.has(name) != actual.has(name):
            yield Difference("missing" if expected.has(name) else "unexpected", place, f"-N {name}")
        yield from _diff_chain(place, wanted, found)


def _diff_chain(chain: str, wanted: list[tuple[int, Rule]], found: list[tuple[int, Rule]]) -> Iterator[Difference]:
    matcher = SequenceMatcher(None, [rule for _, rule in wanted], [rule for _, rule in found], autojunk=False)
    for operation, first, last, first_found, last_found in matcher.get_opcodes():
        if operation != "equal":
            for number, rule in wanted[first:last]:
                yield Difference("missing", f"{chain}/{number}", render_rule(rule))
            for number, rule in found[first_found:last_found]:
                yield Difference("unexpected", f"{chain}/{number}", render_rule(rule))


def _uncounted(rule: Rule) -> Rule:
    return replace(rule, counters=None)
