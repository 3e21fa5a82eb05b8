"""From what the kernel has to what it should have: one transaction for `nft -f`, which is applied whole or not at all.

Within it a thing goes before what it uses, and comes after it: elements lead to chains, chains to other chains, and
those look into sets.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from pilotfish.model.frontend import Frontend, Frontends
from pilotfish.servicenet.chains import Named, build_own, build_shared
from pilotfish.servicenet.elements import BUILDERS, SHARED, render_addition, render_deletion
from pilotfish.servicenet.table import render_skeleton


def render_all(frontends: Frontends, beside: str, machine: str) -> str:
    """Replaces whatever the kernel has. `beside`, `machine`: see `table.render_skeleton`."""
    return render_skeleton(beside, machine) + render_changes({}, frontends)


def render_changes(before: Frontends, after: Frontends) -> str:
    """For a kernel that has `before`; "" if there is nothing to do. A frontend that did not change is only compared."""
    old = tuple(f for name, f in before.items() if after.get(name) != f)
    new = tuple(f for name, f in after.items() if before.get(name) != f)
    there, wanted = _named(before.values(), old), _named(after.values(), new)
    ends: list[str] = []
    begins: list[str] = []
    for name, build in BUILDERS.items():
        had, has = build(old), build(new)
        gone = [key for key, value in had.items() if has.get(key) != value]
        # Looked for only where something goes.
        still = build(after.values()) if gone and name in SHARED else {}
        ends += render_deletion(name, (key for key in gone if key not in still))
        begins += render_addition(name, {key: value for key, value in has.items() if had.get(key) != value})
    lines = (*ends, *_chains(there, wanted), *reversed(begins))
    return "".join(f"{line}\n" for line in lines)


def _chains(there: Collection[Named], wanted: Collection[Named]) -> Iterator[str]:
    """What is as it was is left alone, so that the clients that a set holds stay."""
    goes = [named for named in there if named not in wanted]
    comes = [named for named in wanted if named not in there]
    yield from (named.flush() for named in goes if named.rules)
    names = {(named.kind, named.name, named.definition) for named in comes}
    for named in reversed(goes):
        if (named.kind, named.name, named.definition) not in names:
            yield named.delete()
    for named in comes:
        yield named.add()
    for named in comes:
        yield from named.fill()


def _named(everything: Iterable[Frontend], changed: Iterable[Frontend]) -> dict[Named, None]:
    own = (named for frontend in changed for named in build_own(frontend))
    return dict.fromkeys((*build_shared(everything), *own))
