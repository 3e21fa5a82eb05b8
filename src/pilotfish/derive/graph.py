"""The graph of inputs, queries and the reads between them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast, overload

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
P = ParamSpec("P")
R = TypeVar("R")


class CycleError(RuntimeError):
    """A query asked, through others, for its own result."""


class Input(Generic[K, V]):
    """A named table of input values, set by key. Compared by identity."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"Input({self.name})"


class Query(Generic[P, R]):
    """A pure function whose results a `Graph` memoises. Called directly, inside another query, it goes through `db`."""

    __slots__ = ("function", "index", "name")

    def __init__(self, function: Callable[Concatenate[Reads, P], R], index: bool) -> None:
        self.function = function
        self.index = index
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"

    def __call__(self, db: Reads, *args: P.args, **kwargs: P.kwargs) -> R:
        if kwargs:
            raise TypeError(f"{self.name}: a query takes positional arguments only")
        return cast(R, db.ask(self, args))

    def __repr__(self) -> str:
        return f"Query({self.name})"


@overload
def query(function: Callable[Concatenate[Reads, P], R], /) -> Query[P, R]: ...
@overload
def query(*, index: bool) -> Callable[[Callable[Concatenate[Reads, P], R]], Query[P, R]]: ...
def query(function: Any = None, /, *, index: bool = False) -> Any:
    """Make a function a query. `index`: it reads a whole collection, and so says nothing about provenance."""
    if function is None:
        return lambda f: Query(f, index)
    return Query(function, index)


Origin = tuple[Query[..., Any], tuple[Any, ...]]
"""One result: a query and its arguments."""


class _State(Enum):
    FRESH = 0
    """The value is right."""
    SUSPECT = 1
    """Something that it read, directly or not, may have changed."""
    STALE = 2
    """It was never computed, or something that it read directly has changed."""


class _Value:
    """An input. There is one for every address of the mesh, and most are read by nobody: so it is small."""

    __slots__ = ("changed_at", "key", "table", "used_by", "value")
    state = _State.FRESH

    def __init__(self, table: Input[Any, Any], key: Any) -> None:
        self.table = table
        self.key = key
        self.value: Any = None
        self.changed_at = 0
        """The revision in which the value last became another one."""
        self.used_by: dict[_Result, None] | None = None


class _Keys(_Value):
    """The keys of a table that are set."""

    __slots__ = ()

    def __init__(self, table: Input[Any, Any], keys: tuple[Any, ...]) -> None:
        super().__init__(table, None)
        self.value = keys


class _Result:
    """What a query gave."""

    __slots__ = ("args", "changed_at", "computed_at", "query", "reads", "running", "state", "used_by", "value")

    def __init__(self, query: Query[..., Any], args: tuple[Any, ...]) -> None:
        self.query = query
        self.args = args
        self.value: Any = None
        self.state = _State.STALE
        self.running = False
        self.computed_at = 0
        """The revision in which the value was last computed."""
        self.changed_at = 0
        """The revision in which the value last became another one."""
        self.reads: dict[_Node, None] = {}
        self.used_by: dict[_Result, None] | None = None


_Node = _Value | _Result


@dataclass(slots=True)
class Stats:
    """Counts since the graph was made, or since `reset`."""

    ran: dict[str, int]
    """How often each query's function ran, by name."""

    def reset(self) -> None:
        self.ran.clear()

    @property
    def total(self) -> int:
        return sum(self.ran.values())


class Reads:
    """What a query may read. One exists for each running query; it records the reads."""

    __slots__ = ("_graph", "_node")

    def __init__(self, graph: Graph, node: _Result) -> None:
        self._graph = graph
        self._node = node

    @property
    def origin(self) -> Origin:
        """The query that runs, for a result that should know where it comes from (see `Graph.provenance`)."""
        return self._node.query, self._node.args

    def read(self, table: Input[K, V], key: K) -> V | None:
        """The value of one input, or None where it is not set."""
        return cast("V | None", self._record(self._graph._entry(table, key)))

    def keys(self, table: Input[K, Any]) -> tuple[K, ...]:
        """The keys that are set, sorted. Changes only when a key comes or goes."""
        return cast("tuple[K, ...]", self._record(self._graph._keys_of(table)))

    def ask(self, query: Query[..., Any], args: tuple[Any, ...]) -> Any:
        """The result of a query. `query(db, *args)` says the same."""
        node = self._graph._result(query, args)
        self._graph._refresh(node)
        return self._record(node)

    def _record(self, node: _Node) -> Any:
        self._node.reads[node] = None
        if node.used_by is None:
            node.used_by = {}
        node.used_by[self._node] = None
        return node.value


class Graph:
    """Inputs and memoised queries. Not safe for use from several threads."""

    def __init__(self) -> None:
        self.revision = 1
        """Goes up by one with every change of an input."""
        self.stats = Stats({})
        self._inputs: dict[Input[Any, Any], dict[Any, _Value]] = {}
        self._keys: dict[Input[Any, Any], _Keys] = {}
        """Of the tables whose keys some query has read."""
        self._queries: dict[Origin, _Result] = {}

    def set(self, table: Input[K, V], key: K, value: V | None) -> bool:
        """Set one input; None removes it. True if that changed anything."""
        return self.update(table, ((key, value),))

    def update(self, table: Input[K, V], changes: Iterable[tuple[K, V | None]]) -> bool:
        """Set many inputs of one table; keys that are asked for are sorted once. True if that changed anything."""
        differing = [(entry, value) for key, value in changes if (entry := self._entry(table, key)).value != value]
        if not differing:
            return False
        self.revision += 1
        keys_changed = False
        for entry, value in differing:
            keys_changed |= (entry.value is None) != (value is None)
            self._change(entry, value)
        if keys_changed and (keys := self._keys.get(table)) is not None:
            self._change(keys, self._set_keys(table))
        return True

    def get(self, query: Query[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The result of a query, computed again only if something that it read has changed."""
        node = self._result(query, args)
        self._refresh(node)
        return cast(R, node.value)

    def peek(self, table: Input[K, V], key: K) -> V | None:
        """The value of one input, from outside any query."""
        node = self._inputs.get(table, {}).get(key)
        return None if node is None else cast("V | None", node.value)

    def changed_at(self, table: Input[K, Any], key: K) -> int:
        """The revision in which this input last changed; 0 if it never did."""
        node = self._inputs.get(table, {}).get(key)
        return 0 if node is None else node.changed_at

    def provenance(self, query: Query[P, Any], *args: P.args, **kwargs: P.kwargs) -> frozenset[tuple[str, Any]]:
        """The (table name, key) of every input that the result comes from. Reads made by index queries don't count."""
        start = self._result(query, args)
        self._refresh(start)
        found: set[tuple[str, Any]] = set()
        seen: set[_Node] = {start}
        stack = [start]
        while stack:
            for read in stack.pop().reads:
                if read in seen:
                    continue
                seen.add(read)
                if isinstance(read, _Result):
                    if not read.query.index:
                        stack.append(read)
                elif not isinstance(read, _Keys) and read.value is not None:
                    found.add((read.table.name, read.key))
        return frozenset(found)

    def collect(self, roots: Iterable[Origin]) -> int:
        """Forget every query result that no root needs. Returns how many were forgotten."""
        keep: set[_Result] = set()
        stack = [node for root in roots if (node := self._queries.get(root)) is not None]
        while stack:
            node = stack.pop()
            if node not in keep:
                keep.add(node)
                stack.extend(read for read in node.reads if isinstance(read, _Result))
        dead = [key for key, node in self._queries.items() if node not in keep]
        for key in dead:
            self._forget_reads(self._queries.pop(key))
        for entries in self._inputs.values():
            for gone in [k for k, n in entries.items() if n.value is None and not n.used_by]:
                del entries[gone]
        return len(dead)

    def __iter__(self) -> Iterator[Origin]:
        return iter(self._queries)

    def __len__(self) -> int:
        return len(self._queries)

    def _entry(self, table: Input[Any, Any], key: Any) -> _Value:
        entries = self._inputs.setdefault(table, {})
        node = entries.get(key)
        if node is None:
            node = entries[key] = _Value(table, key)
        return node

    def _keys_of(self, table: Input[Any, Any]) -> _Keys:
        node = self._keys.get(table)
        if node is None:
            node = self._keys[table] = _Keys(table, self._set_keys(table))
        return node

    def _set_keys(self, table: Input[Any, Any]) -> tuple[Any, ...]:
        return tuple(sorted(key for key, node in self._inputs.get(table, {}).items() if node.value is not None))

    def _result(self, query: Query[..., Any], args: tuple[Any, ...]) -> _Result:
        key = (query, args)
        node = self._queries.get(key)
        if node is None:
            node = self._queries[key] = _Result(query, args)
        return node

    def _change(self, node: _Value, value: Any) -> None:
        node.value = value
        node.changed_at = self.revision
        if not node.used_by:
            return
        for reader in node.used_by:
            reader.state = _State.STALE
        stack = list(node.used_by)
        while stack:
            for reader in stack.pop().used_by or ():
                if reader.state is _State.FRESH:
                    reader.state = _State.SUSPECT
                    stack.append(reader)

    def _refresh(self, node: _Node) -> None:
        if node.state is _State.FRESH or not isinstance(node, _Result):
            return
        if node.running:
            raise CycleError(f"{node.query}{node.args} depends on itself")
        if node.state is _State.SUSPECT and not self._any_read_changed(node):
            node.state = _State.FRESH
            return
        self._run(node)

    def _any_read_changed(self, node: _Result) -> bool:
        """Bring the reads up to date, in the order in which they were made, up to the first that changed."""
        node.running = True
        try:
            for read in tuple(node.reads):
                self._refresh(read)
                if read.changed_at > node.computed_at:
                    return True
            return False
        finally:
            node.running = False

    def _run(self, node: _Result) -> None:
        self._forget_reads(node)
        node.running = True
        node.state = _State.STALE
        try:
            value = node.query.function(Reads(self, node), *node.args)
        finally:
            node.running = False
        ran = self.stats.ran
        ran[node.query.name] = ran.get(node.query.name, 0) + 1
        first = node.computed_at == 0
        node.state = _State.FRESH
        node.computed_at = self.revision
        if first or not _is_same(value, node.value):
            node.value = value
            node.changed_at = node.computed_at

    def _forget_reads(self, node: _Result) -> None:
        for read in node.reads:
            if read.used_by:
                read.used_by.pop(node, None)
        node.reads = {}


def _is_same(one: object, other: object) -> bool:
    """Mappings that differ in their order alone are equal, yet whoever walks through one sees the order."""
    return one == other and (not isinstance(one, dict) or list(one) == list(cast(dict[Any, Any], other)))
