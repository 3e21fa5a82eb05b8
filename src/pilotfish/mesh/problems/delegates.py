"""Problems of VirtualServices that leave routes to others, and of those others."""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import resource
from pilotfish.mesh.problems.routing import warning
from pilotfish.mesh.routes.delegates import merge
from pilotfish.mesh.routes.http_routes import find_delegate
from pilotfish.mesh.routing import delegate_ref, delegated
from pilotfish.model import ObjectRef, Problem


@query
def delegate_problems(db: Reads, ref: ObjectRef) -> tuple[Problem, ...]:
    found = resource(db, ref, istio.VirtualService)
    if found is None:
        return ()
    if not found.spec.hosts and not _is_used(db, ref):
        text = (
            "it has no hosts, and no VirtualService delegates to it, so it has no effect; name its hosts, or delegate"
        )
        return (warning(db, ref, "spec.hosts", "UnusedDelegate", text),)
    return tuple(_of_root(db, ref, found.spec))


@query(index=True)
def _is_used(db: Reads, ref: ObjectRef) -> bool:
    return ref in delegated(db)


def _of_root(db: Reads, ref: ObjectRef, spec: istio.VirtualServiceSpec) -> Iterator[Problem]:
    for index, rule in enumerate(spec.http):
        if rule.delegate is None:
            continue
        field, meant = f"spec.http[{index}].delegate", delegate_ref(ref, rule.delegate)
        found = find_delegate(db, ref, rule.delegate)
        if found is None:
            text = (
                f"{meant} is not there, has hosts of its own, or is not exported to {ref.namespace}, so no request "
                f"takes this route; correct the name, or the other object"
            )
            yield warning(db, ref, field, "UnknownDelegate", text)
            continue
        for part, merged in merge(rule, *found):
            if merged is None:
                text = (
                    f"{meant} {part} matches requests that this route does not, so it is not used; let each of its "
                    f"matches be as narrow as one of these"
                )
                yield warning(db, ref, field, "ConflictingDelegate", text)
