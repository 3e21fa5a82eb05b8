"""Memoised pure functions that record what they read.

Inputs are set by key; everything else is a *query*, a pure function of inputs and of other queries. The `Graph` keeps
each query's result together with the reads that it made::

    SERVICES: Input[str, Service] = Input("services")

    @query
    def cluster(db: Reads, host: str) -> Resource | None:
        service = db.read(SERVICES, host)
        ...

    graph = Graph()
    graph.set(SERVICES, "a", service)
    graph.get(cluster, "a")

Setting an input marks what read it, in turn, as possibly stale. Asking again re-runs only what read something that
really changed, and stops where a result comes out equal. The technique is that of Adapton (Hammer et al., PLDI 2014)
and of Salsa's red-green algorithm.

Rules for a query: it reads nothing but its arguments and `db` (no clock, file or global); its arguments are small and
hashable; its result is immutable and cheap to compare. A query over a whole collection yields names or an index
(`@query(index=True)`), and a narrow one reads its own entry. Index queries do not count as provenance.
"""

from pilotfish.derive.graph import CycleError, Graph, Input, Origin, Query, Reads, Stats, query

__all__ = ["CycleError", "Graph", "Input", "Origin", "Query", "Reads", "Stats", "query"]
