"""What a derive graph promises: right answers after any changes, no more work than they ask for, provenance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.derive import CycleError, Graph, Input, Reads, query

NUMBERS: Input[str, int] = Input("numbers")
GROUPS: Input[str, tuple[str, ...]] = Input("groups")


@query
def number(db: Reads, name: str) -> int:
    return db.read(NUMBERS, name) or 0


@query
def parity(db: Reads, name: str) -> int:
    return number(db, name) % 2


@query
def total(db: Reads, group: str) -> int:
    return sum(number(db, name) for name in db.read(GROUPS, group) or ())


@query
def odd_members(db: Reads, group: str) -> tuple[str, ...]:
    return tuple(name for name in db.read(GROUPS, group) or () if parity(db, name))


@query(index=True)
def all_names(db: Reads) -> tuple[str, ...]:
    return db.keys(NUMBERS)


@query(index=True)
def signs(db: Reads) -> dict[str, bool]:
    """The smallest first."""
    return {name: number(db, name) > 0 for name in sorted(all_names(db), key=lambda name: number(db, name))}


@query
def ascending(db: Reads) -> tuple[str, ...]:
    return tuple(signs(db))


@query
def grand_total(db: Reads) -> int:
    return sum(number(db, name) for name in all_names(db))


@query
def endless(db: Reads, n: int) -> int:
    return endless(db, n) + 1


NAMES = ["a", "b", "c", "d"]
changes = st.lists(
    st.one_of(
        st.tuples(st.just("number"), st.sampled_from(NAMES), st.one_of(st.none(), st.integers(0, 5))),
        st.tuples(
            st.just("group"),
            st.sampled_from(["g", "h"]),
            st.one_of(st.none(), st.lists(st.sampled_from(NAMES), unique=True).map(tuple)),
        ),
        st.tuples(st.just("ask"), st.sampled_from(["g", "h"]), st.none()),
        st.tuples(st.just("collect"), st.just("g"), st.none()),
    ),
    max_size=30,
)


def answers(graph: Graph) -> tuple[object, ...]:
    totals = [graph.get(total, group) for group in ("g", "h")]
    odd = [graph.get(odd_members, group) for group in ("g", "h")]
    return (*totals, *odd, graph.get(grand_total))


@given(changes)
def test_any_sequence_of_changes_gives_what_a_build_from_scratch_gives(steps: list[tuple[str, str, object]]) -> None:
    graph = Graph()
    numbers: dict[str, int | None] = {}
    groups: dict[str, tuple[str, ...] | None] = {}
    for what, name, value in steps:
        if what == "number":
            numbers[name] = value  # type: ignore[assignment]
            graph.set(NUMBERS, name, numbers[name])
        elif what == "group":
            groups[name] = value  # type: ignore[assignment]
            graph.set(GROUPS, name, groups[name])
        elif what == "ask":
            graph.get(odd_members, name)
        else:
            graph.collect([(total, ("g",))])
    scratch = Graph()
    scratch.update(NUMBERS, numbers.items())
    scratch.update(GROUPS, groups.items())
    assert answers(graph) == answers(scratch)


@given(st.lists(st.tuples(st.sampled_from(["c", "d"]), st.one_of(st.none(), st.integers(0, 9))), max_size=20))
def test_unrelated_changes_run_nothing_again(unrelated: list[tuple[str, int | None]]) -> None:
    graph = Graph()
    graph.update(NUMBERS, [("a", 1), ("b", 2)])
    graph.set(GROUPS, "g", ("a", "b"))
    before = (graph.get(total, "g"), graph.get(odd_members, "g"))
    graph.stats.reset()
    for name, value in unrelated:
        graph.set(NUMBERS, name, value)
    assert (graph.get(total, "g"), graph.get(odd_members, "g")) == before
    assert graph.stats.ran == {}


def test_work_stops_where_a_result_comes_out_equal() -> None:
    graph = Graph()
    graph.set(NUMBERS, "a", 1)
    graph.set(GROUPS, "g", ("a",))
    graph.get(odd_members, "g")
    graph.stats.reset()
    graph.set(NUMBERS, "a", 3)
    assert graph.get(odd_members, "g") == ("a",)
    assert {name.rpartition(".")[2] for name in graph.stats.ran} == {"number", "parity"}


def test_a_mapping_in_another_order_is_another_result() -> None:
    graph = Graph()
    graph.set(NUMBERS, "a", 1)
    graph.set(NUMBERS, "b", 2)
    assert graph.get(ascending) == ("a", "b")
    graph.set(NUMBERS, "a", 3)
    assert graph.get(ascending) == ("b", "a")


def test_an_equal_input_is_no_change() -> None:
    graph = Graph()
    assert graph.set(NUMBERS, "a", 1)
    revision = graph.revision
    assert not graph.set(NUMBERS, "a", 1)
    assert graph.revision == revision


def test_keys_change_only_when_one_comes_or_goes() -> None:
    graph = Graph()
    graph.update(NUMBERS, [("b", 1), ("a", 1)])
    assert graph.get(all_names) == ("a", "b")
    graph.stats.reset()
    graph.set(NUMBERS, "a", 7)
    assert graph.get(all_names) == ("a", "b")
    assert graph.stats.total == 0
    graph.set(NUMBERS, "a", None)
    assert graph.get(all_names) == ("b",)


def test_provenance_names_the_inputs_but_not_what_an_index_read() -> None:
    graph = Graph()
    graph.update(NUMBERS, [("a", 1), ("b", 2), ("c", 3)])
    graph.set(GROUPS, "g", ("a", "b"))
    assert graph.provenance(total, "g") == {("numbers", "a"), ("numbers", "b"), ("groups", "g")}
    assert graph.provenance(grand_total) == {("numbers", "a"), ("numbers", "b"), ("numbers", "c")}
    graph.set(GROUPS, "g", ("b",))
    assert graph.provenance(total, "g") == {("numbers", "b"), ("groups", "g")}


def test_collect_forgets_what_no_root_needs() -> None:
    graph = Graph()
    graph.update(NUMBERS, [("a", 1)])
    graph.update(GROUPS, [("g", ("a",)), ("h", ("a",))])
    graph.get(total, "g")
    graph.get(odd_members, "h")
    assert graph.collect([(total, ("g",))]) == 2
    assert len(graph) == 2
    assert graph.get(odd_members, "h") == ("a",)


def test_a_query_that_asks_for_itself_is_a_cycle() -> None:
    with pytest.raises(CycleError, match="endless"):
        Graph().get(endless, 1)


def test_a_query_that_fails_is_tried_again_when_asked_again() -> None:
    boom = [True]

    @query
    def fragile(db: Reads) -> int:
        if boom[0]:
            raise OSError("outside world")
        return number(db, "a")

    graph = Graph()
    graph.set(NUMBERS, "a", 5)
    with pytest.raises(OSError):
        graph.get(fragile)
    boom[0] = False
    assert graph.get(fragile) == 5
