"""Envoy's unified matchers: to which actions one may lead, by what is known of a connection.

    Matcher ─decide─▶ Decision: Leaf, Leaf …   in the order in which Envoy tries

Where something is not known both ways are gone: a Decision has all that may come out, and is certain where that is one.
A nested matcher that matches nothing is as if what leads to it had not matched, and so is `keep_matching`.

Sources: https://www.envoyproxy.io/docs/envoy/v1.40.0/xds/type/matcher/v3/matcher.proto, ip.proto and domain.proto
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from envoy.extensions.matching.input_matchers.ip.v3.ip_pb2 import Ip
from xds.type.matcher.v3.domain_pb2 import ServerNameMatcher
from xds.type.matcher.v3.ip_pb2 import IPMatcher

from pilotfish.explain.match_branches import (
    Asked,
    Branch,
    Value,
    covers,
    domains,
    exact,
    listed,
    prefixes,
    ranges,
)
from pilotfish.explain.matchers import Holds, all_of, any_of, holds, invert, match_string
from pilotfish.explain.trace import Rejected

_WORDS: Final = {"exact": "is", "prefix": "begins with", "suffix": "ends with", "safe_regex": "matches"}


Read = Callable[[Any], Value]
"""By an input (a TypedExtensionConfig)."""


@dataclass(frozen=True, slots=True)
class Leaf:
    action: Any
    """A TypedExtensionConfig."""
    way: tuple[Asked, ...]
    """What led there."""

    @property
    def why(self) -> str:
        return " and ".join(each.said for each in self.way)


_REST: Final = Asked("nothing else matches")


@dataclass(frozen=True, slots=True)
class Decision:
    leaves: tuple[Leaf, ...]
    """The first that matches; of what is not known all that may."""
    may_miss: bool
    """It may be that nothing matches."""
    doubts: tuple[str, ...]
    """What it depends on and is not known, in words."""
    rejected: tuple[Rejected, ...]
    is_read: bool = True
    """False: a matcher on the way is not read here, so that anything may come out."""


def decide(matcher: Any, read: Read, name_of: Callable[[Any], str]) -> Decision:
    """`name_of`: what an action is called, for those who lost."""
    walk = _Walk(read, name_of)
    leaves, ends = walk.match(matcher, ())
    doubts = tuple(dict.fromkeys(walk.doubts))
    return Decision(tuple(leaves), not ends, doubts, tuple(dict.fromkeys(walk.rejected)), walk.is_read)


def actions(matcher: Any) -> Iterator[Any]:
    """All that a matcher may lead to, whatever it is asked of; what a custom matcher has of which nobody knows is not
    among them."""
    for on_match in _within(matcher):
        yield from _actions_of(on_match)


def _actions_of(on_match: Any) -> Iterator[Any]:
    if on_match.HasField("action"):
        yield on_match.action
    else:
        yield from actions(on_match.matcher)


def _within(matcher: Any) -> Iterator[Any]:
    yield from (each.on_match for each in matcher.matcher_list.matchers)
    tree = matcher.matcher_tree
    yield from (*tree.exact_match_map.map.values(), *tree.prefix_match_map.map.values())
    if tree.custom_match.typed_config.Is(IPMatcher.DESCRIPTOR):
        yield from (each.on_match for each in IPMatcher.FromString(tree.custom_match.typed_config.value).range_matchers)
    if tree.custom_match.typed_config.Is(ServerNameMatcher.DESCRIPTOR):
        names = ServerNameMatcher.FromString(tree.custom_match.typed_config.value)
        yield from (each.on_match for each in names.domain_matchers)
    if matcher.HasField("on_no_match"):
        yield matcher.on_no_match


@dataclass(slots=True)
class _Walk:
    read: Read
    name_of: Callable[[Any], str]
    doubts: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    is_read: bool = True

    def match(self, matcher: Any, way: tuple[Asked, ...]) -> tuple[list[Leaf], bool]:
        """What it may lead to, and whether it surely leads to something."""
        found: list[Leaf] = []
        for branch in self._branches(matcher):
            if branch.holds is Holds.NO:
                self._reject(branch.on_match, branch.said)
                continue
            if branch.holds is Holds.UNKNOWN:
                self.doubts.append(branch.said)
            leaves, ends = self._follow(branch.on_match, (*way, branch.asked))
            found += leaves
            if ends and branch.holds is Holds.YES:
                return found, True
        if not matcher.HasField("on_no_match"):
            return found, False
        rest = (*way, _REST) if matcher.WhichOneof("matcher_type") else way
        leaves, ends = self._follow(matcher.on_no_match, rest)
        return [*found, *leaves], ends

    def _follow(self, on_match: Any, way: tuple[Asked, ...]) -> tuple[list[Leaf], bool]:
        if on_match.HasField("action"):
            leaves, ends = [Leaf(on_match.action, way)], True
        else:
            leaves, ends = self.match(on_match.matcher, way)
        if on_match.keep_matching and leaves:
            self._reject(on_match, f"{leaves[0].why}, but it is passed over (keep_matching)")
            return [], False
        return leaves, ends

    def _reject(self, on_match: Any, reason: str) -> None:
        names = dict.fromkeys(self.name_of(action) for action in _actions_of(on_match))
        self.rejected.append(Rejected(", ".join(names) or "nothing", reason))

    def _branches(self, matcher: Any) -> Iterator[Branch]:
        """In the order in which they are tried."""
        if matcher.WhichOneof("matcher_type") == "matcher_list":
            for each in matcher.matcher_list.matchers:
                found, said = self._predicate(each.predicate)
                yield Branch(each.on_match, found, Asked(said))
            return
        tree = matcher.matcher_tree
        custom = tree.custom_match.typed_config
        match tree.WhichOneof("tree_type"):
            case "exact_match_map":
                yield from exact(tree.exact_match_map.map, self.read(tree.input))
            case "prefix_match_map":
                yield from prefixes(tree.prefix_match_map.map, self.read(tree.input))
            case "custom_match" if custom.Is(IPMatcher.DESCRIPTOR):
                yield from ranges(IPMatcher.FromString(custom.value), self.read(tree.input))
            case "custom_match" if custom.Is(ServerNameMatcher.DESCRIPTOR):
                yield from domains(ServerNameMatcher.FromString(custom.value), self.read(tree.input))
            case "custom_match":
                self._doubt(f"the matcher {tree.custom_match.name}")

    def _doubt(self, what: str) -> None:
        self.doubts.append(f"{what} is not read here")
        self.is_read = False

    def _predicate(self, predicate: Any) -> tuple[Holds, str]:
        """Whether it holds, and what is asked for; where it does not hold, with what there is."""
        match predicate.WhichOneof("match_type"):
            case "single_predicate":
                return self._single(predicate.single_predicate)
            case "or_matcher":
                return _joined(map(self._predicate, predicate.or_matcher.predicate), any_of, Holds.YES, " or ")
            case "and_matcher":
                return _joined(map(self._predicate, predicate.and_matcher.predicate), all_of, Holds.NO, " and ")
            case "not_matcher":
                found, said = self._predicate(predicate.not_matcher)
                return invert(found, True), f"not: {said}"
        return Holds.UNKNOWN, "a predicate is not read here"

    def _single(self, predicate: Any) -> tuple[Holds, str]:
        value = self.read(predicate.input)
        found, asked = _compare(predicate, value)
        said = f"{value.name} {asked}"
        return found, said if found is Holds.YES else f"{said}; {value.there}"


def _compare(predicate: Any, value: Value) -> tuple[Holds, str]:
    custom = predicate.custom_match.typed_config
    if predicate.WhichOneof("matcher") == "value_match":
        kind = predicate.value_match.WhichOneof("match_pattern") or "nothing"
        wanted: Any = getattr(predicate.value_match, kind, "")
        asked = f"{_WORDS.get(kind, kind)} {wanted.regex if kind == 'safe_regex' else wanted}"
    elif custom.Is(Ip.DESCRIPTOR):
        asked = f"is in {listed(Ip.FromString(custom.value).cidr_ranges)}"
    else:
        return Holds.UNKNOWN, f"is as {predicate.custom_match.name} wants it, which is not read here"
    if not value.is_known:
        return Holds.UNKNOWN, asked
    if value.text is None:
        return Holds.NO, asked
    if predicate.WhichOneof("matcher") == "value_match":
        return match_string(predicate.value_match, value.text), asked
    return holds(any(covers(each, value.text) for each in Ip.FromString(custom.value).cidr_ranges)), asked


def _joined(
    parts: Iterable[tuple[Holds, str]],
    join: Callable[[Iterable[Holds]], Holds],
    decisive: Holds,
    word: str,
) -> tuple[Holds, str]:
    """Said is the part that decided, or all."""
    listed = list(parts)
    found = join(each for each, _ in listed)
    one = next((said for each, said in listed if each is decisive), None)
    return found, one if found is decisive and one is not None else word.join(said for _, said in listed)
