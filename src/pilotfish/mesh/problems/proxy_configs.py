"""Problems of ProxyConfigs: what an older one of the same rank has said already."""

from __future__ import annotations

from collections.abc import Iterator

from pilotfish.config import istio
from pilotfish.derive import Reads, query
from pilotfish.mesh.inputs import refs, resource
from pilotfish.mesh.problems.routing import warning
from pilotfish.model import ObjectRef, Problem
from pilotfish.model.kinds import PROXY_CONFIG

_Rank = tuple[str, tuple[tuple[str, str], ...]]
"""(namespace, labels of the pods that are meant; none: all)."""


@query(index=True)
def proxy_config_problems(db: Reads) -> tuple[Problem, ...]:
    found = [
        (ref, each) for ref in refs(db, PROXY_CONFIG) if (each := resource(db, ref, istio.ProxyConfig)) is not None
    ]
    found.sort(key=lambda pair: (pair[1].metadata.creation_timestamp or "", pair[0]))
    said: dict[tuple[_Rank, str], tuple[ObjectRef, object]] = {}
    problems: list[Problem] = []
    for ref, each in found:
        for field, value in _said(each):
            first, held = said.setdefault((_rank(ref, each), field), (ref, value))
            if held != value:
                text = f"{first} is older, for the same pods, and says {held!r}, so this has no effect; keep one"
                problems.append(warning(db, ref, field, "ConflictingProxyConfig", text))
    return tuple(problems)


def _rank(ref: ObjectRef, each: istio.ProxyConfig) -> _Rank:
    selector = each.spec.selector.match_labels if each.spec.selector is not None else {}
    return ref.namespace, tuple(sorted(selector.items()))


def _said(each: istio.ProxyConfig) -> Iterator[tuple[str, object]]:
    if each.spec.concurrency is not None:
        yield "spec.concurrency", each.spec.concurrency
    for name, value in each.spec.environment_variables.items():
        yield f"spec.environmentVariables[{name}]", value
