"""Whatever becomes of connections, and of what a server remembers: in the end the objects are known that it has."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pilotfish.cluster.reflection import Ask, Reflection

NAMES = ("a", "b", "c", "d")
Event = tuple[int, str, bool]
"""The revision, the name, whether it is there from then on."""


@dataclass
class Server:
    """Objects and their history, as etcd keeps them: from some revision on."""

    revision: int = 1
    objects: dict[str, str] = field(default_factory=dict)
    history: list[Event] = field(default_factory=list)
    forgotten: int = 0

    def write(self, name: str, is_there: bool) -> None:
        self.revision += 1
        if is_there:
            self.objects[name] = str(self.revision)
        else:
            self.objects.pop(name, None)
        self.history.append((self.revision, name, is_there))

    def since(self, version: str) -> list[Event] | None:
        """None: it does not know any more."""
        if int(version) < self.forgotten:
            return None
        return [event for event in self.history if event[0] > int(version)]


class Following(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.server = Server()
        self.reflection: Reflection[str] = Reflection()
        self.held: dict[str, str] = {}
        """What whoever is told of changes has."""
        self.ask: Ask | None = None
        """What is open; None: nothing."""
        self.coming: list[tuple[str, str]] = []
        """Of a list: what is still to come."""
        self.taken = 0
        """The revision up to which an open watch or list has told."""

    @rule(name=st.sampled_from(NAMES))
    def write(self, name: str) -> None:
        self.server.write(name, True)

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        if name in self.server.objects:
            self.server.write(name, False)

    @rule()
    def forget(self) -> None:
        self.server.forgotten = self.server.revision

    @rule()
    def connect(self) -> None:
        self.ask = self.reflection.ask()
        if self.ask is Ask.WATCH:
            if self.server.since(self.reflection.version) is None:
                self.reflection.expired()
                self.ask = None
            else:
                self.taken = int(self.reflection.version)
        else:
            self.coming = sorted(self.server.objects.items())
            self.taken = self.server.revision

    @precondition(lambda self: self.ask is not None)
    @rule()
    def cut(self) -> None:
        self.ask = None

    @precondition(lambda self: self.ask in (Ask.LIST, Ask.STREAM))
    @rule()
    def expire_list(self) -> None:
        self.reflection.expired()
        self.ask = None

    @precondition(lambda self: self.ask is Ask.STREAM)
    @rule()
    def streams_unserved(self) -> None:
        self.reflection.streams_unserved()
        self.ask = None

    @precondition(lambda self: self.ask in (Ask.LIST, Ask.STREAM) and self.coming)
    @rule()
    def item(self) -> None:
        self.see(*self.coming.pop(0))

    @precondition(lambda self: self.ask in (Ask.LIST, Ask.STREAM) and not self.coming)
    @rule()
    def end_list(self) -> None:
        if self.ask is Ask.LIST:
            gone = self.reflection.listed(str(self.taken))
            self.ask = None
        else:
            gone = self.reflection.bookmark(str(self.taken), ends_list=True)
            self.ask = Ask.WATCH
        for name in gone:
            del self.held[name]

    @precondition(lambda self: self.ask is Ask.WATCH or (self.ask is Ask.STREAM and not self.coming))
    @rule()
    def event(self) -> None:
        """The next one; a streamed list may tell of some before it is said to be complete."""
        events = self.server.since(str(self.taken))
        if not events:
            return
        self.taken, name, is_there = events[0]
        if is_there:
            self.see(name, str(self.taken))
        elif self.reflection.gone(name, str(self.taken)):
            del self.held[name]

    @precondition(lambda self: self.ask is Ask.WATCH)
    @rule()
    def bookmark(self) -> None:
        assert self.reflection.bookmark(str(self.taken), ends_list=False) == ()

    def see(self, name: str, version: str) -> None:
        if self.reflection.seen(name, version):
            assert self.held.get(name) != version, "what is known is no news"
            self.held[name] = version

    @invariant()
    def knows_what_it_has_told(self) -> None:
        assert len(self.reflection) == len(self.held)

    def teardown(self) -> None:
        """From here on nothing goes wrong."""
        for _ in range(4):
            self.connect()
            while self.coming:
                self.item()
            if self.ask in (Ask.LIST, Ask.STREAM):
                self.end_list()
            while self.ask is Ask.WATCH and self.server.since(str(self.taken)):
                self.event()
        assert self.held == self.server.objects
        assert self.reflection.is_synced


TestFollowing = pytest.mark.filterwarnings("default")(Following.TestCase)
TestFollowing.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_what_went_while_nobody_watched_is_found_gone() -> None:
    reflection: Reflection[str] = Reflection(streams=False)
    assert reflection.ask() is Ask.LIST
    assert [reflection.seen(name, "1") for name in ("a", "b")] == [True, True]
    assert reflection.listed("2") == ()
    reflection.expired()
    assert reflection.ask() is Ask.LIST
    assert reflection.seen("b", "1") is False
    assert reflection.listed("9") == ("a",)
    assert reflection.ask() is Ask.WATCH
    assert reflection.version == "9"


def test_a_kind_that_is_not_there_any_more_takes_its_objects_with_it() -> None:
    reflection: Reflection[str] = Reflection()
    reflection.ask()
    reflection.seen("a", "1")
    assert reflection.absent() == ("a",)
    assert reflection.is_synced
    assert reflection.ask() is Ask.STREAM
