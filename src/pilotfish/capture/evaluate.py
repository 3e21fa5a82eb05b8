"""What a RuleSet does with a connection, as the kernel would: hook by hook, table by table, rule by rule.

    out:  OUTPUT (raw, mangle, nat, filter) ─▶ POSTROUTING (mangle, nat) ─▶ gone; over lo: PREROUTING ─▶ INPUT
    in:   PREROUTING (raw, mangle, nat) ─▶ INPUT (mangle, filter, nat), or FORWARD (mangle, filter) if it only passes

conntrack looks at a packet between raw and mangle. nat is asked for the first packet of a connection, once each way:
what OUTPUT decided PREROUTING does not decide again (nf_nat_core.c, nf_nat_inet_fn). Policy routing is not known here:
TPROXY is taken to be complete, and a mark that changes on the way out to leave the interface as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from pilotfish.capture.connection import LOOPBACK, Connection, Direction, State
from pilotfish.capture.matches import Criterion, compile_match
from pilotfish.capture.packet import Packet
from pilotfish.capture.rule import Option, Rule
from pilotfish.capture.ruleset import Chain, RuleSet
from pilotfish.capture.targets import Action, Flow, Outcome, compile_target, is_harmless
from pilotfish.capture.verdict import Accepted, Dropped, Evaluation, Unknown, Verdict, Visit, VisitEvent

_DESTINATION_NAT = "destination"
_SOURCE_NAT = "source"
_TABLES: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        "PREROUTING": (("raw", ""), ("mangle", ""), ("nat", _DESTINATION_NAT)),
        "INPUT": (("mangle", ""), ("filter", ""), ("security", ""), ("nat", _SOURCE_NAT)),
        "FORWARD": (("mangle", ""), ("filter", ""), ("security", "")),
        "OUTPUT": (("raw", ""), ("mangle", ""), ("nat", _DESTINATION_NAT), ("filter", ""), ("security", "")),
        "POSTROUTING": (("mangle", ""), ("nat", _SOURCE_NAT)),
    }
)
"""Each hook's tables by priority (linux/netfilter_ipv4.h), and which address nat translates there."""
_DEEPEST = 64
"""Chains in chains; the kernel loads no loop, a text may hold one."""


def evaluate(ruleset: RuleSet, connection: Connection) -> Evaluation:
    """For one connection."""
    return Evaluator(ruleset).evaluate(connection)


@dataclass(frozen=True, slots=True)
class _Ready:
    """A rule, ready to be asked."""

    id: str
    rule: Rule
    criteria: tuple[Criterion, ...]
    chain: _Chain | None
    """Where it jumps or goes to."""
    action: Action
    """What it does otherwise."""
    harmless: bool


@dataclass(slots=True)
class _Chain:
    """Filled once all chains are known, as rules refer to them."""

    id: str
    policy: str
    rules: tuple[_Ready, ...] = ()


class Evaluator:
    """A RuleSet of one family, compiled: every option a function. Then a connection costs some microseconds."""

    __slots__ = ("_chains",)

    def __init__(self, ruleset: RuleSet) -> None:
        self._chains: dict[tuple[str, str], _Chain] = {}
        for table in ruleset.tables:
            made = {chain.name: _Chain(f"{table.name}/{chain.name}", chain.policy) for chain in table.chains}
            for chain in table.chains:
                made[chain.name].rules = tuple(_compile_chain(chain, made))
            self._chains.update({(table.name, name): chain for name, chain in made.items()})

    def evaluate(self, connection: Connection) -> Evaluation:
        """The verdict now; the rules visited when asked for."""
        packet = Packet(connection)
        verdict = _Walk(self._chains, packet, None).run(connection)
        return Evaluation(connection, verdict, packet.mark, packet.connection_mark, partial(self._explain, connection))

    def _explain(self, connection: Connection) -> tuple[Visit, ...]:
        visited: list[Visit] = []
        _Walk(self._chains, Packet(connection), visited).run(connection)
        return tuple(visited)


def _compile_chain(chain: Chain, made: dict[str, _Chain]) -> list[_Ready]:
    compiled = []
    for number, rule in enumerate(chain.rules, 1):
        id = f"{made[chain.name].id}/{number}"
        criteria = tuple(criterion for match in rule.matches for criterion in compile_match(match))
        target = made.get(rule.target)
        compiled.append(_Ready(id, rule, criteria, target, compile_target(rule, id), is_harmless(rule)))
    return compiled


class _Walk:
    """One packet through the hooks. Writes down each step if there is where to."""

    __slots__ = ("_chains", "_hook", "_let_pass", "_packet", "_translated", "_visited")

    def __init__(self, chains: Mapping[tuple[str, str], _Chain], packet: Packet, visited: list[Visit] | None) -> None:
        self._chains = chains
        self._packet = packet
        self._visited = visited
        self._hook = ""
        self._translated: set[str] = set()
        self._let_pass = ""
        """The id of the last rule that let the packet pass, ACCEPT or RETURN."""

    def run(self, connection: Connection) -> Verdict:
        walk = self._outgoing if connection.direction is Direction.OUT else self._incoming
        ended = walk()
        return ended if ended is not None else self._packet.way or Accepted(self._let_pass)

    def _outgoing(self) -> Verdict | None:
        packet = self._packet
        if ended := self._pass("OUTPUT"):
            return ended
        packet.leave()
        if ended := self._pass("POSTROUTING"):
            return ended
        if packet.out_interface is None:
            return self._undecided("PREROUTING", "INPUT")
        if packet.out_interface != LOOPBACK:
            return None
        packet.come_back()
        return self._pass("PREROUTING") or self._pass("INPUT")

    def _incoming(self) -> Verdict | None:
        if ended := self._pass("PREROUTING"):
            return ended
        if self._packet.local is None:
            return self._undecided("INPUT", "FORWARD")
        return self._pass("INPUT" if self._packet.local else "FORWARD")

    def _pass(self, hook: str) -> Verdict | None:
        """All tables of a hook. A verdict only where the packet gets no further."""
        self._hook = hook
        for table, translates in _TABLES[hook]:
            if table == "mangle":
                self._packet.seen = True
            chain = self._chains.get((table, hook))
            skipped = self._skips_nat(translates) if translates else ""
            if chain is None:
                continue
            if skipped:
                self._note(VisitEvent.SKIPPED, chain.id, skipped)
                continue
            outcome = self._pass_base(chain)
            if not isinstance(outcome, Flow):
                return outcome
        return None

    def _undecided(self, *hooks: str) -> Unknown | None:
        """Translated (DNAT) to who knows where: that matters if there are rules on one of the ways."""
        for (table, hook), chain in self._chains.items():
            if hook in hooks and table != "nat" and (chain.rules or chain.policy == "DROP"):
                return Unknown(
                    f"whether {self._packet.way} is in this namespace, so that {chain.id} is asked", chain.id
                )
        return None

    def _skips_nat(self, translates: str) -> str:
        """Why nat is not asked, "" if it is; then the next hook that translates the same address does not ask."""
        state = self._packet.state
        if state is not State.NEW and state is not State.RELATED:
            return f"nat sees only a connection's first packet, this one is {state}"
        if translates in self._translated:
            return f"the connection's {translates} was decided when it was sent"
        self._translated.add(translates)
        return ""

    def _pass_base(self, chain: _Chain) -> Outcome:
        self._note(VisitEvent.ENTERED, chain.id, "the kernel's own chain")
        outcome = self._pass_chain(chain, 0)
        if outcome is not Flow.NEXT:
            return outcome
        self._note(VisitEvent.POLICY, chain.id, f"no rule decided, so its policy does: {chain.policy or 'ACCEPT'}")
        return Dropped(chain.id) if chain.policy == "DROP" else Flow.ACCEPT

    def _pass_chain(self, chain: _Chain, depth: int) -> Outcome:
        """NEXT if the chain came to its end, by RETURN too."""
        if depth > _DEEPEST:
            return Unknown(f"{chain.id} leads back to itself", chain.id)
        packet, visited = self._packet, self._visited
        for ready in chain.rules:
            matched: bool | None = True
            for criterion in ready.criteria:
                found = criterion.test(packet)
                if found is None:
                    matched = None
                elif not found:
                    matched = False
                    break
            if visited is not None:
                self._note_rule(ready, matched)
            if matched is False:
                continue
            if matched is None:
                if ready.harmless:
                    continue
                return Unknown(f"{ready.id}: {'; '.join(_reasons(ready, packet, None))}", ready.id)
            outcome = self._act(ready, depth)
            if outcome is Flow.NEXT:
                continue
            if outcome is Flow.RETURN or outcome is Flow.ACCEPT:
                self._let_pass = self._let_pass if ready.chain else ready.id
            return Flow.NEXT if outcome is Flow.RETURN else outcome
        return Flow.NEXT

    def _act(self, ready: _Ready, depth: int) -> Outcome:
        if ready.chain is None:
            return ready.action(self._packet)
        self._note(VisitEvent.ENTERED, ready.chain.id, f"from {ready.id}")
        outcome = self._pass_chain(ready.chain, depth + 1)
        if outcome is not Flow.NEXT:
            return outcome
        caller = ready.id.rpartition("/")[0]
        self._note(VisitEvent.RETURNED, ready.chain.id, f"to {'the caller of ' if ready.rule.goto else ''}{caller}")
        return Flow.RETURN if ready.rule.goto else Flow.NEXT

    def _note_rule(self, ready: _Ready, matched: bool | None) -> None:
        event = VisitEvent.MATCHED if matched else VisitEvent.UNKNOWN if matched is None else VisitEvent.NOT_MATCHED
        reasons = _reasons(ready, self._packet, matched)
        self._note(event, ready.id, "; ".join(reasons) if reasons else "it matches everything", ready.rule)

    def _note(self, event: VisitEvent, id: str, why: str, rule: Rule | None = None) -> None:
        if self._visited is not None:
            self._visited.append(Visit(event, self._hook, id, why, rule))


def _reasons(ready: _Ready, packet: Packet, matched: bool | None) -> list[str]:
    """Of the options those that decided: the first that fails, all that can't be told, or all."""
    found = [
        f"{_render(criterion.option)}: {criterion.shown(packet)}"
        for criterion in ready.criteria
        if criterion.test(packet) is matched
    ]
    return found[:1] if matched is False else found


def _render(option: Option) -> str:
    return " ".join((*(("!",) if option.negated else ()), option.name, *option.values))
