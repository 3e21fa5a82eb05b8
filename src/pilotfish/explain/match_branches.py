"""The branches of a tree of matchers: where each leads, and whether what it asks of a value holds. In the order in
which Envoy tries them.

Sources: https://www.envoyproxy.io/docs/envoy/v1.40.0/xds/type/matcher/v3/matcher.proto, ip.proto and domain.proto
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from pilotfish.explain.matchers import Holds


@dataclass(frozen=True, slots=True)
class Value:
    """What an input finds in a connection."""

    name: str
    """`the server name`."""
    text: str | None = None
    """None: the connection has none."""
    is_known: bool = True

    @property
    def there(self) -> str:
        if not self.is_known:
            return "it is not known"
        return "there is none" if self.text is None else f"it is {self.text}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What one matcher asks for, and leads on where it holds."""

    said: str
    """`the server name is web`."""
    name: str = ""
    """`the server name`; "" where it is more than one thing."""
    value: str = ""
    """`web`."""


@dataclass(frozen=True, slots=True)
class Branch:
    """Where a matcher leads, if that holds which it asks for."""

    on_match: Any
    holds: Holds
    asked: Asked
    there: str = ""
    """What there is instead."""

    @property
    def said(self) -> str:
        return f"{self.asked.said}; {self.there}" if self.there else self.asked.said


def exact(entries: Any, value: Value) -> Iterator[Branch]:
    yield from _keyed(sorted(entries.items()), value, "is", lambda key: value.text == key)


def prefixes(entries: Any, value: Value) -> Iterator[Branch]:
    """The longest first."""
    ranked = sorted(entries.items(), key=lambda entry: (-len(entry[0]), entry[0]))
    yield from _keyed(ranked, value, "begins with", lambda key: (value.text or "").startswith(key))


def _keyed(entries: Iterable[tuple[str, Any]], value: Value, how: str, fits: Callable[[str], bool]) -> Iterator[Branch]:
    for key, on_match in entries:
        asked = Asked(f"{value.name} {how} {key}", value.name, key)
        if not value.is_known:
            yield Branch(on_match, Holds.UNKNOWN, asked, value.there)
        elif value.text is not None and fits(key):
            yield Branch(on_match, Holds.YES, asked)
        else:
            yield Branch(on_match, Holds.NO, asked, value.there)


def ranges(matcher: Any, value: Value) -> Iterator[Branch]:
    """The narrowest first, then as they are written. What is exclusive is tried for what nothing narrower covers."""
    written = [(block, each) for each in matcher.range_matchers for block in each.ranges]
    is_first = True
    for block, each in sorted(written, key=lambda found: -found[0].prefix_len.value):
        asked = Asked(f"{value.name} is in {listed([block])}", value.name, listed([block]))
        if not value.is_known:
            yield Branch(each.on_match, Holds.UNKNOWN, asked, value.there)
        elif value.text is None or not covers(block, value.text):
            yield Branch(each.on_match, Holds.NO, asked, value.there)
        elif each.exclusive and not is_first:
            yield Branch(each.on_match, Holds.NO, asked, "a narrower range has it, too, and this one is exclusive")
        else:
            is_first = False
            yield Branch(each.on_match, Holds.YES, asked)


def domains(matcher: Any, value: Value) -> Iterator[Branch]:
    """A name itself, then the longest wildcard, then `*`."""
    written = [(name, each.on_match) for each in matcher.domain_matchers for name in each.domains]
    ranked = sorted(written, key=lambda found: (found[0].startswith("*"), -len(found[0])))
    yield from _keyed(ranked, value, "is", lambda name: _is_domain(value.text or "", name))


def _is_domain(name: str, domain: str) -> bool:
    if not domain.startswith("*"):
        return name == domain
    return bool(name) and (domain == "*" or name.endswith(domain[1:]))


def covers(block: Any, text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return address in ip_network(f"{block.address_prefix}/{block.prefix_len.value}", strict=False)


def listed(blocks: Iterable[Any]) -> str:
    return ", ".join(f"{each.address_prefix}/{each.prefix_len.value}" for each in blocks)
