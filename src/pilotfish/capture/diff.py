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
    kind: Literal["missing", "changed", "foreign"]
    """A rule in the wrong place is missing and foreign, once each."""
    id: str
    """`nat/ISTIO_OUTPUT/3`, without the number for a chain: where it is missing from, or where it stands."""
    rule: str
    """As it should be; as it is if it is foreign. `-N CHAIN` for a whole chain, whose rules follow."""
    found: str = ""
    """What stands in place of a changed one."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.id}: {self.rule}{f' (it is: {self.found})' if self.found else ''}"


def diff(expected: RuleSet, actual: RuleSet, *, whole: bool = False) -> tuple[Difference, ...]:
    """Counters do not matter, nor do others' rules in the kernel's own chains.

    `whole`: the tables are ours alone, so that whatever else is in them is foreign.
    """
    names = dict.fromkeys(table.name for table in (*expected.tables, *actual.tables))
    compared = (_diff_table(expected.table(name), actual.table(name), whole) for name in names)
    return tuple(difference for table in compared for difference in table)


def _diff_table(expected: Table, actual: Table, whole: bool) -> Iterator[Difference]:
    for name in dict.fromkeys(chain.name for chain in (*expected.chains, *actual.chains)):
        place = f"{expected.name}/{name}"
        wanted = [(n, _uncounted(rule)) for n, rule in enumerate(expected.chain(name).rules, 1)]
        known = {rule for _, rule in wanted}
        found = [(n, _uncounted(rule)) for n, rule in enumerate(actual.chain(name).rules, 1)]
        if name not in OWN_CHAINS and not whole:
            found = [(n, rule) for n, rule in found if rule in known or is_own(actual, name, rule)]
        elif name in OWN_CHAINS and expected.has(name) != actual.has(name):
            yield Difference("missing" if expected.has(name) else "foreign", place, f"-N {name}")
        elif whole:
            yield from _diff_hook(place, expected.chain(name).policy, actual.chain(name).policy)
        yield from _diff_chain(place, wanted, found)


def _diff_hook(place: str, wanted: str, found: str) -> Iterator[Difference]:
    """A chain of ours hooked elsewhere, or that drops what no rule decides. One that does nothing is left out."""
    if (wanted or "ACCEPT") != (found or "ACCEPT"):
        yield Difference("changed", place, wanted, found) if wanted else Difference("foreign", place, found)


def _diff_chain(chain: str, wanted: list[tuple[int, Rule]], found: list[tuple[int, Rule]]) -> Iterator[Difference]:
    matcher = SequenceMatcher(None, [rule for _, rule in wanted], [rule for _, rule in found], autojunk=False)
    for operation, first, last, first_found, last_found in matcher.get_opcodes():
        if operation == "equal":
            continue
        missing, foreign = wanted[first:last], found[first_found:last_found]
        if len(missing) == len(foreign):
            for (number, rule), (_, other) in zip(missing, foreign, strict=True):
                yield Difference("changed", f"{chain}/{number}", render_rule(rule), render_rule(other))
            continue
        yield from (Difference("missing", f"{chain}/{number}", render_rule(rule)) for number, rule in missing)
        yield from (Difference("foreign", f"{chain}/{number}", render_rule(rule)) for number, rule in foreign)


def _uncounted(rule: Rule) -> Rule:
    return replace(rule, counters=None)
